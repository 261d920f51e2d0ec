//! `hostile::gguf` on whatever the fuzzer makes up.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| detox_lab_fuzz::hostile::gguf(input));
