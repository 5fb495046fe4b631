//! The problems that a client can meet, one section for each `type`.
//!
//! Every answer of the engine's own is `application/problem+json` (RFC 9457); the fragment of its `type` is the name of
//! a section here. [`IdempotencyBuilder::problem_base`](crate::IdempotencyBuilder::problem_base) points the `type` at
//! pages of your own, [`IdempotencyBuilder::on_problem`](crate::IdempotencyBuilder::on_problem) replaces the answer.
//!
//! # key-missing
//! **400.** The operation is protected and the request has no `Idempotency-Key`. Make a key (a random UUID) when the
//! user asks for the operation, keep it, and send it with this try and every retry. A key in a header with another name,
//! such as `X-Idempotency-Key`, is no key: send it in the header that the answer names. Nothing was carried out.
//!
//! # key-invalid
//! **400.** The header is empty, longer than 255 bytes, not printable ASCII, sent twice, or not of the format that the
//! operation demands. `k` and the RFC 9651 string `"k"` are one key. A comma outside quotes is a sign of two header lines
//! that were joined. The nil and the max UUID are no keys: an id was not set. Nothing was carried out.
//!
//! # key-expired
//! **400.** The operation demands keys that carry their time (UUID version 7), this one is older than the time for which
//! responses are kept, and nothing is known of it. Whether it was carried out can no longer be told from the key: look at
//! the resource first, and make a new key only for a new operation. If something is still known of so old a key, that is
//! the answer: the response, `in-flight` while the first request runs, or `outcome-unknown` after one that died.
//!
//! # key-reused
//! **422.** The key belongs to another request to the same route with the same method: another path, query, body, content
//! type, precondition or caller. Nothing of the other request is shown. The same key with another method or at another
//! route is another key, and not this problem.
//!
//! Send a retry exactly as the first try. Do not answer this problem with a new key for the same operation: the first
//! request may have been carried out. Look at the resource first; a new key is for an operation that was never asked for.
//! If the credentials of one client change between tries (a refreshed token), or a deploy changed which credentials are
//! compared, the service has to act: it should set the attribute's `scope`.
//!
//! # in-flight
//! **409, `Retry-After`.** The first request with this key is still running. Come back after the pause with the same
//! key.
//!
//! # outcome-unknown
//! **409.** An earlier attempt died half-way and the operation must not be run again without a look at what it did, or its
//! key carries its time and is too old to run again. Retrying does not help; look at the resource, or ask the service's
//! operators.
//!
//! # not-replayable
//! **409, perhaps `Location`.** The request was carried out, but its response was too large or endless to be kept, or is
//! still being sent. It will not be carried out again; `Location` says where the result is, if the response had one.
//!
//! # request-too-large
//! **413.** The request's body is larger than what the service compares retries by. Nothing was carried out.
//!
//! # request-unreadable
//! **400.** The request's body broke off before its end. Nothing was carried out.
//!
//! # store-unavailable
//! **503, `Retry-After`.** The record of keys cannot be reached, so it cannot be known whether the request ran before.
//! Nothing was carried out by this try. Come back with the same key.
//!
//! # journal-unavailable
//! **503, `Retry-After`.** The service keeps responses in its own database, which did not say whether this request was
//! carried out. Come back with the same key: it will be answered, or carried out if it was not.
//!
//! # store-full
//! **503, `Retry-After`.** The record of keys has no room for a new one. Nothing was carried out. Come back with the same
//! key.
//!
//! # too-many-in-flight
//! **503, `Retry-After`.** The service is processing as many protected requests, or holding as many bytes of them, as it
//! may. Nothing was carried out by this try. Come back with the same key.
//!
//! # record-unreadable
//! **500.** There is a record for the key, and it cannot be understood or would never expire. Nothing was carried out by
//! this try, and nothing will be until the record is gone. The service's operators have to look at it.
