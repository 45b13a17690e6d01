#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qpq_tests::fuzz::feed("script-surface", bytes));
