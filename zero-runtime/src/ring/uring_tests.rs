//! The real ring against real sockets: see the file of the same name without `_tests`.
