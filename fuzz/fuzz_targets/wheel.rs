#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::wheel(bytes, &readers::scratch("wheel")));
