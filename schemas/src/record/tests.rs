use super::*;

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn record() -> NodeRecord {
    NodeRecord {
        peer: key().public(),
        seq_ms: 1_000,
        expires_ms: 2_000,
        sealing: SealingPublic([2; 32]),
        nickname: "Ada".into(),
        domain: "mesh.example".into(),
        addresses: vec!["quic://192.0.2.1:4433".into(), "quic://[2001:db8::1]:4433".into()],
    }
}

#[test]
fn a_signed_record_is_read_back() {
    let bytes = record().sign(&key()).unwrap();
    assert_eq!(NodeRecord::verify(&bytes), Ok(record()));
    let empty = NodeRecord { nickname: String::new(), domain: String::new(), addresses: vec![], ..record() };
    assert_eq!(NodeRecord::verify(&empty.sign(&key()).unwrap()), Ok(empty));
}

#[test]
fn a_changed_or_cut_record_is_refused() {
    let bytes = record().sign(&key()).unwrap();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(NodeRecord::verify(&bad).is_err());
        assert!(NodeRecord::verify(&bytes[..at]).is_err());
    }
    assert!(NodeRecord::verify(&[&bytes[..], &[0]].concat()).is_err());
    assert!(record().sign(&SigningKey::from_seed(&[2; 32])).is_err(), "nobody signs for another");
}

#[test]
fn each_field_has_its_limit() {
    let refused = |change: fn(&mut NodeRecord)| {
        let mut record = record();
        change(&mut record);
        record.sign(&key()).unwrap_err()
    };
    assert_eq!(refused(|r| r.nickname = "x".repeat(33)), RecordError::Nickname);
    assert_eq!(refused(|r| r.nickname = "\u{1b}[2J".into()), RecordError::Nickname);
    assert_eq!(refused(|r| r.domain = "Mesh".into()), RecordError::Domain);
    assert_eq!(refused(|r| r.addresses = vec!["a".into(); 9]), RecordError::Address);
    assert_eq!(refused(|r| r.addresses = vec!["a b".into()]), RecordError::Address);
    assert_eq!(refused(|r| r.addresses = vec![String::new()]), RecordError::Address);
    assert_eq!(refused(|r| r.expires_ms = 999), RecordError::Life);
    assert_eq!(refused(|r| r.expires_ms = 1_001 + MAX_RECORD_LIFE_MS), RecordError::Life);
    let long = refused(|r| r.addresses = vec!["a".repeat(128); 8]);
    assert!(matches!(long, RecordError::TooLong(_)));
}

#[test]
fn a_record_counts_from_its_making_to_its_expiry() {
    let mut record = record();
    assert_eq!(record.check_times(1_999), Ok(()));
    assert_eq!(record.check_times(2_000), Err(RecordError::Expired));
    record.seq_ms = 302_000;
    assert_eq!(record.check_times(1_999), Err(RecordError::FromTheFuture));
}
