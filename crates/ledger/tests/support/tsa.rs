//! What a time-stamping authority says, without one.

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match content.len() {
        length @ 0..128 => vec![length as u8],
        length @ 128..256 => vec![0x81, length as u8],
        length => vec![0x82, (length >> 8) as u8, length as u8],
    };
    [&[tag][..], &length, &content].concat()
}

/// A response to a request of this ledger's, without certificate and signature, which nobody looks at here.
pub fn stamp(request: &[u8]) -> Vec<u8> {
    // Version, imprint (0x33 bytes), nonce, certificate asked for.
    let (imprint, nonce) = (&request[5..5 + 0x33], &request[5 + 0x33..request.len() - 3]);
    let oid = |bytes: &[u8]| element(6, &[bytes]);
    let number = element(2, &[&[1]]);
    let time = element(0x18, &[b"20990105100001Z"]);
    let info = element(0x30, &[&number, &oid(&[0x2a, 3]), imprint, &number, &time, nonce]);
    let tst = oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04]);
    let inner = element(0x30, &[&tst, &element(0xa0, &[&element(4, &[&info])])]);
    let signed = element(0x30, &[&element(2, &[&[3]]), &element(0x31, &[]), &inner, &element(0x31, &[])]);
    let content = element(0x30, &[&oid(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02]), &element(0xa0, &[&signed])]);
    element(0x30, &[&element(0x30, &[&element(2, &[&[0]])]), &content])
}
