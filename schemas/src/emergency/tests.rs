use super::*;

fn admin(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn notice(signers: &[u8]) -> Notice {
    let mut notice = Notice::new(TopicId([3; 32]), 1_000, "the dam may break:\nleave the valley").unwrap();
    signers.iter().for_each(|n| notice.sign(&admin(*n)).unwrap());
    notice
}

#[test]
fn each_admin_counts_once_and_strangers_do_not() {
    let admins = [1, 2, 3].map(|n| admin(n).public());
    let has = |signers: &[u8], quorum| notice(signers).has_quorum(|key| admins.contains(key), quorum);
    assert!(has(&[2, 1, 9], 2) && has(&[1, 2, 3], 2));
    assert!(!has(&[2, 1, 9], 3) && !has(&[2, 2, 2], 2) && !has(&[], 1) && !has(&[8, 9], 1));
    assert_eq!(notice(&[9]).signatures().collect::<Vec<_>>(), [(admin(9).public(), true)]);
}

#[test]
fn what_is_signed_is_the_text_the_time_and_the_channel() {
    let signed = notice(&[1]);
    assert!(signed.has_quorum(|_| true, 1));
    for other in [
        Notice { text: "all is well".into(), ..signed.clone() },
        Notice { until_ms: 1_001, ..signed.clone() },
        Notice { topic: TopicId([4; 32]), ..signed.clone() },
    ] {
        assert!(!other.has_quorum(|_| true, 1));
        assert_ne!(other.digest(), signed.digest());
    }
}

#[test]
fn two_admins_may_sign_at_the_same_time_and_one_puts_both_together() {
    let (mut one, other) = (notice(&[1]), notice(&[2]));
    assert!(one.merge(&other));
    assert_eq!(one, notice(&[2, 1]));
    let mut bad = notice(&[3]);
    bad.signatures[0].1[0] ^= 1;
    assert!(one.merge(&bad), "it is the same notice");
    assert_eq!(one, notice(&[2, 1]), "and a bad signature is left out");
    assert!(!one.merge(&Notice { until_ms: 7, ..notice(&[3]) }));
    let full: Vec<u8> = (10..26).collect();
    let mut full = notice(&full);
    assert_eq!(full.sign(&admin(1)), Err(NoticeError::Signatures));
    assert_eq!(full.sign(&admin(10)), Ok(()));
    assert!(!full.merge(&one));
}

#[test]
fn it_survives_being_copied_by_hand() {
    let signed = notice(&[1, 2]);
    let text = signed.to_text();
    let folded = text
        .to_uppercase()
        .as_bytes()
        .chunks(40)
        .map(|line| String::from_utf8_lossy(line) + "\n- ")
        .collect::<String>();
    assert_eq!(Notice::from_text(&folded), Ok(signed));
    let mistyped = text[9..].replacen('c', "d", 1);
    assert_eq!(Notice::from_text(&format!("qpqnotice{mistyped}")), Err(NoticeError::Checksum));
    assert_eq!(Notice::from_text(&text[..text.len() - 8]), Err(NoticeError::Checksum));
    assert_eq!(Notice::from_text("qpqinvite00"), Err(NoticeError::NoNotice));
    assert_eq!(Notice::from_text("qpqnotice0!"), Err(NoticeError::Character('!')));
}

#[test]
fn the_longest_notice_fits_and_a_longer_one_does_not() {
    let longest = "ü".repeat(MAX_NOTICE_TEXT / 2);
    let mut notice = Notice::new(TopicId([3; 32]), u64::MAX, longest.clone()).unwrap();
    (0..16).for_each(|n| notice.sign(&admin(n)).unwrap());
    assert_eq!(Notice::from_text(&notice.to_text()), Ok(notice));
    assert_eq!(Notice::new(TopicId([3; 32]), 1, longest + "x"), Err(NoticeError::Length));
    assert_eq!(Notice::new(TopicId([3; 32]), 1, ""), Err(NoticeError::Length));
    assert_eq!(Notice::new(TopicId([3; 32]), 1, "\u{1b}[2J"), Err(NoticeError::Text));
}
