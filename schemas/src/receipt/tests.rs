use super::*;

#[test]
fn a_receipt_is_read_back() {
    let receipt = Receipt { id: MessageId([7; 32]), received_ms: 9 };
    assert_eq!(Receipt::decode(&receipt.encode()), Ok(receipt));
    assert_eq!(Receipt::decode(&receipt.encode()[..40]), Err(ContentError::Short));
    let mut newer = receipt.encode();
    newer[0] = 2;
    assert_eq!(Receipt::decode(&newer), Err(ContentError::Version(2)));
}
