//! The JSON scanner against serde_json: what both accept is equal.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (ours, problems) = reeve_decode::json::parse(text);
    if let (true, Ok(theirs)) = (problems.is_empty(), serde_json::from_str::<serde_json::Value>(text)) {
        let ours = serde_json::to_value(&ours).expect("it serialises");
        assert_eq!(ours, theirs);
    }
});
