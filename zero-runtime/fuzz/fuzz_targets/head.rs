#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| zero_runtime::fuzzing::head(input));
