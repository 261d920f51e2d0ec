//! `hostile::adapter` on the fuzzer's inputs.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| detox_lab_fuzz::hostile::adapter(input));
