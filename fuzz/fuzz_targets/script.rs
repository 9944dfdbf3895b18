#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::script(bytes, &readers::scratch("script")));
