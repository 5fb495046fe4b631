//! The rules that can be switched off.

/// What is wrong with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// Nothing is wrong, but duplicates wait.
    OnlyOtherwiseWaiting,
    /// Nothing is wrong, but requests are compared by the values in them.
    OnlyOtherwiseByValue,
    /// There is no protection.
    Attribute,
    /// A request without a key is carried out.
    KeyMissing,
    /// An empty key is a key.
    KeyEmpty,
    /// Keys of more than 64 characters are refused.
    LongKeys,
    /// Keys are cut off after 255 characters.
    CutKeys,
    /// Other characters than ASCII are accepted.
    NotAscii,
    /// A key in quotes is another key.
    Quotes,
    /// A key with a parameter is another key.
    Parameters,
    /// The first of two lines is the key.
    TwoLines,
    /// Two joined lines are one key.
    JoinedLines,
    /// The nil UUID is a key.
    Nil,
    /// The header must not be in upper case.
    HeaderCase,
    /// A replay is always a 200.
    Status,
    /// A replay has one more byte.
    Body,
    /// A replay has not this header.
    Lost(&'static str),
    /// A replay has this header of the first response.
    Replayed(&'static str),
    /// The replica has its own store.
    Replicas,
    /// The store is lost with the process.
    Restarts,
    /// Requests are not compared.
    Fingerprint,
    /// The body is a part of the key.
    BodyInKey,
    /// The query is not compared.
    Query,
    /// The content type is neither compared nor checked.
    ContentType,
    /// The path is not part of the key.
    Path,
    /// The method is not part of the key.
    Method,
    /// Callers are not told apart.
    Callers,
    /// A refused request frees the key.
    AfterRefusal,
    /// There is no claim: a duplicate of a running request runs. Only for slow requests: on a busy machine others run at the
    /// same time by chance.
    Claim,
    /// The second request on a connection runs.
    Connection,
    /// A 409 does not say when to come again.
    RetryAfter,
    /// A request with other content runs if the first one still runs.
    OtherWhileRunning,
    /// The key is locked as soon as the head has arrived.
    LockedByHead,
    /// A body that broke off is carried out.
    HalfBody,
    /// A client that leaves frees the key, and the handler goes on. Each response takes a moment longer.
    Disconnect,
    /// A request whose body arrives slowly does not count as the same.
    SlowBody,
    /// A response with this status is repeated for ever.
    Pinned(u16),
    /// Problems are plain JSON.
    MediaType,
    /// A problem has another status in its body.
    ProblemStatus,
    /// No problem has a link.
    Link,
    /// A problem repeats the credentials.
    Secret,
    /// A problem shows where it was made.
    StackTrace,
}
