//! What the tests share: real servers on free ports, a proxy that breaks things, an HTTP client.
