//! The outcome of a gRPC call, which is in a header or a trailer of a response with status 200. Pure.

use axum::http::{HeaderMap, HeaderName, StatusCode};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The HTTP status that means the same as `grpc-status`, by the table in google.rpc's `code.proto`. `None` if the header is
/// not there.
pub(crate) fn http_status(headers: &HeaderMap) -> Option<StatusCode> {
    let code = headers.get(GRPC_STATUS)?;
    Some(match code.as_bytes() {
        b"0" => StatusCode::OK,
        // INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE
        b"3" | b"9" | b"11" => StatusCode::BAD_REQUEST,
        b"5" => StatusCode::NOT_FOUND,
        // ALREADY_EXISTS
        b"6" => StatusCode::CONFLICT,
        // PERMISSION_DENIED
        b"7" => StatusCode::FORBIDDEN,
        // RESOURCE_EXHAUSTED
        b"8" => StatusCode::TOO_MANY_REQUESTS,
        b"16" => StatusCode::UNAUTHORIZED,
        // All others ask for another try, ABORTED too, or the service has failed. A code that nobody knows is UNKNOWN.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    })
}
