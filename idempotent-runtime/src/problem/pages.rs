//! The problems that a client can get. There is one section for each `type`.
//!
//! Every answer that the engine makes itself is `application/problem+json` (RFC 9457). The fragment of its `type` is
//! the title of a section here. To let `type` point to pages of your own, use
//! [`IdempotencyBuilder::problem_base`](crate::IdempotencyBuilder::problem_base). To answer in another format, use
//! [`IdempotencyBuilder::on_problem`](crate::IdempotencyBuilder::on_problem).
//!
//! # key-missing
//! **400.** The operation is protected and the request has no `Idempotency-Key`. Nothing was carried out.
//!
//! Make a key, such as a random UUID, when the user asks for the operation. Keep it, and send it with the first try and
//! every retry. A header with another name, such as `X-Idempotency-Key`, is not read; the answer names the right
//! header.
//!
//! # key-invalid
//! **400.** The key is empty, longer than 255 bytes, not printable ASCII, sent twice, or does not have the format that
//! the operation requires. Nothing was carried out. An operation may also take its key from a value in the request, such
//! as an event's id. The answer then says so.
//!
//! `k` and the RFC 9651 string `"k"` are the same key. A comma outside quotes is refused, because proxies put a comma
//! between header lines that they join. The nil UUID and the max UUID are refused, because they usually come from a
//! variable that was never set.
//!
//! # key-expired
//! **400.** The operation requires keys that carry their time (UUID version 7), this key is older than the service
//! keeps responses, and nothing is known of it. It can no longer be known whether the request was carried out. Look at the
//! resource first. Make a new key only for a new operation.
//!
//! If something is still known of such an old key, the answer is not this problem. It is the stored response, or
//! `in-flight` while the first request runs, or `outcome-unknown` if the first attempt died.
//!
//! # key-reused
//! **422.** The key was used for another request to the same route with the same method: the path, query, body, content
//! type, a precondition, another header with a meaning or the caller differs. The answer shows nothing of the other request. With another method or
//! another route, the same key is a different key, and this problem does not occur.
//!
//! A retry must be exactly like the first try. Do not react to this problem with a new key for the same operation,
//! because the first request may have been carried out. Look at the resource first. Make a new key only for a new
//! operation.
//!
//! The service must act if the credentials of one client change between tries (a refreshed token), or if a deploy
//! changed which credentials are compared. It should then set the attribute's `scope`. It must also act if the value of
//! `fingerprint = EXPR` contains a `HashSet`: its order differs from request to request, so sort it, or use a `BTreeSet`.
//!
//! # in-flight
//! **409, `Retry-After`.** The first request with this key is still running. Send the request again with the same key
//! after the pause.
//!
//! # outcome-unknown
//! **409.** An earlier attempt died before its end, and the service does not run the operation again automatically, or
//! the key carries its time and is too old to run again. Retrying does not help. Look at the resource, or ask the
//! service's operators.
//!
//! # not-replayable
//! **409, perhaps `Location`.** The request was carried out, but its response was too large or endless and so was not
//! stored, or it is still being sent. The request will not be carried out again. If the response had a `Location`, this
//! answer has it too: it says where the result is.
//!
//! # request-too-large
//! **413.** The request's body is larger than the service accepts in a protected request. Nothing was carried out.
//!
//! # request-unreadable
//! **400.** The request's body ended early. Nothing was carried out. Send the request again with the same key.
//!
//! # store-unavailable
//! **503, `Retry-After`.** The store of keys cannot be reached, so it cannot be known whether the request was carried
//! out before. This try carried nothing out. Send the request again with the same key.
//!
//! # journal-unavailable
//! **503, `Retry-After`.** The service stores responses in its own database. The database did not answer, so it is not
//! known whether this request was carried out. Send the request again with the same key. It will get the stored
//! response, or be carried out if it was not.
//!
//! # store-full
//! **503, `Retry-After`.** The store has no room for another key. Nothing was carried out. Send the request again with
//! the same key.
//!
//! # too-many-in-flight
//! **503, `Retry-After`.** The service is processing the greatest number of protected requests, or of their bytes, that
//! it allows. This try carried nothing out. Send the request again with the same key.
//!
//! # record-unreadable
//! **500.** What the service keeps for this key cannot be read, or would never expire. This try carried nothing out, and
//! no later try will until the service's operators have looked at it.
