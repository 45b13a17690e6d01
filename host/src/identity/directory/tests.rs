use super::*;

const HOUR: u64 = 3_600_000;

fn directory() -> Directory {
    Directory::in_memory(Arc::new(Identity::from_seed(&[1; 32])))
}

fn peer(first: u8, second: u8) -> PeerId {
    let mut id = [9; 32];
    id[0] = first;
    id[1] = second;
    PeerId(id)
}

fn named(name: &str) -> Sighting {
    Sighting { nickname: Some(name.to_owned()), ..Sighting::default() }
}

fn seen(seen_ms: u64) -> Sighting {
    Sighting { seen_ms: Some(seen_ms), ..Sighting::default() }
}

#[test]
fn a_full_key_resolves_whether_known_or_not() {
    let id = peer(1, 1);
    assert_eq!(directory().resolve(&format!(" {id} ")), Ok(id));
    assert_eq!(directory().resolve(&id.to_string().to_uppercase()), Ok(id));
}

#[test]
fn a_unique_beginning_of_eight_digits_resolves() {
    let mut directory = directory();
    let ids = [peer(0x10, 0), peer(0x10, 1), peer(0x11, 0)];
    ids.iter().for_each(|id| directory.upsert(*id, &Sighting::default()).unwrap());
    assert_eq!(directory.resolve("10010909"), Ok(ids[1]));
    assert_eq!(directory.resolve("1001090909"), Ok(ids[1]));
    assert_eq!(directory.resolve("1100090909090"), Ok(ids[2]));
    assert_eq!(directory.resolve("1001090"), Err(ResolveError::TooShort));
    assert_eq!(directory.resolve("12000909"), Err(ResolveError::Unknown));
    assert_eq!(directory.resolve(""), Err(ResolveError::Unknown));
}

#[test]
fn a_beginning_that_two_keys_share_names_both() {
    let mut directory = directory();
    let (a, b) = (PeerId([0xaa; 32]), PeerId([[0xaa; 16], [0xbb; 16]].concat().try_into().unwrap()));
    directory.upsert(a, &Sighting::default()).unwrap();
    directory.upsert(b, &Sighting::default()).unwrap();
    assert_eq!(directory.resolve("aaaaaaaa"), Err(ResolveError::Ambiguous(vec![a, b])));
    assert_eq!(directory.resolve(&format!("{}bb", "aa".repeat(16))), Ok(b));
}

#[test]
fn our_own_key_resolves_by_its_beginning_too() {
    let directory = directory();
    let own = directory.own.peer_id();
    assert_eq!(directory.resolve(&own.to_string()[..8]), Ok(own));
}

#[test]
fn a_nickname_resolves_while_only_one_peer_has_it() {
    let mut directory = directory();
    directory.upsert(peer(1, 1), &named("Alice")).unwrap();
    assert_eq!(directory.resolve("alice"), Ok(peer(1, 1)));
    directory.upsert(peer(2, 2), &named("ALICE")).unwrap();
    assert_eq!(directory.resolve("alice"), Err(ResolveError::Ambiguous(vec![peer(1, 1), peer(2, 2)])));
}

#[test]
fn the_admins_nickname_goes_before_what_peers_call_themselves() {
    let mut directory = directory();
    directory.set_nickname(peer(1, 1), Some("alice")).unwrap();
    directory.upsert(peer(2, 2), &named("Alice")).unwrap();
    assert_eq!(directory.resolve("Alice"), Ok(peer(1, 1)));
    directory.upsert(peer(1, 1), &named("mallory")).unwrap();
    assert_eq!(directory.name_of(&peer(1, 1)), Some("alice"));
    assert_eq!(directory.resolve("mallory"), Err(ResolveError::Unknown));
}

#[test]
fn the_admin_gives_a_nickname_to_one_peer_only_and_may_take_it_back() {
    let mut directory = directory();
    directory.set_nickname(peer(1, 1), Some("alice")).unwrap();
    assert_eq!(directory.set_nickname(peer(2, 2), Some("Alice")), Err(DirectoryError::NicknameTaken(peer(1, 1))));
    directory.set_nickname(peer(1, 1), None).unwrap();
    directory.set_nickname(peer(2, 2), Some("Alice")).unwrap();
    for bad in ["", "deadbeef", "a\nb", " a", &"x".repeat(65)] {
        assert_eq!(directory.set_nickname(peer(3, 3), Some(bad)), Err(DirectoryError::BadNickname));
    }
}

#[test]
fn a_short_hexadecimal_nickname_is_a_nickname() {
    let mut directory = directory();
    directory.upsert(peer(1, 1), &named("cafe")).unwrap();
    assert_eq!(directory.resolve("cafe"), Ok(peer(1, 1)));
    assert_eq!(directory.resolve("caff"), Err(ResolveError::TooShort));
}

#[test]
fn what_a_peer_says_is_cleaned_and_cut() {
    let mut directory = directory();
    let many: Vec<_> = (0..100).map(|i| format!("quic://10.0.0.{i}:7000")).collect();
    let sighting = Sighting {
        nickname: Some("a\x1b[2J\u{202e}b".into()),
        domain: Some("Freifunk.Example".into()),
        addresses: many.clone(),
        seen_ms: None,
    };
    directory.upsert(peer(1, 1), &sighting).unwrap();
    let entry = directory.get(&peer(1, 1)).unwrap();
    assert_eq!(entry.nickname.as_deref(), Some("a[2Jb"));
    assert_eq!(entry.domain.as_deref(), Some("freifunk.example"));
    assert_eq!(entry.addresses, many[..MAX_ADDRESSES]);
}

#[test]
fn what_is_no_address_or_domain_is_not_kept() {
    let mut directory = directory();
    let bad =
        ["10.0.0.1:1", "quic://", "://x", "QUIC://x", "quic://a b", "quic://a\n", "quic://\u{202e}", "quic://$(`x`)"];
    let sighting = Sighting {
        domain: Some("-bad-.example".into()),
        addresses: bad.iter().map(ToString::to_string).chain([format!("quic://{}", "x".repeat(300))]).collect(),
        ..Sighting::default()
    };
    directory.upsert(peer(1, 1), &sighting).unwrap();
    let entry = directory.get(&peer(1, 1)).unwrap();
    assert_eq!((entry.addresses.len(), &entry.domain), (0, &None));
    assert_eq!(directory.note_address(peer(1, 1), "nonsense"), Err(DirectoryError::BadAddress));
}

#[test]
fn the_newest_address_comes_first() {
    let mut directory = directory();
    for address in ["quic://a:1", "quic://b:1", "quic://a:1"] {
        directory.note_address(peer(1, 1), address).unwrap();
    }
    assert_eq!(directory.get(&peer(1, 1)).unwrap().addresses, ["quic://a:1", "quic://b:1"]);
}

#[test]
fn we_are_not_in_our_own_directory() {
    let mut directory = directory();
    let own = directory.own.peer_id();
    assert_eq!(directory.upsert(own, &named("me")), Err(DirectoryError::Ourselves));
    assert_eq!(directory.set_trust(own, Trust::Blocked), Err(DirectoryError::Ourselves));
    assert!(!directory.blocked().contains(&own));
}

#[test]
fn ten_thousand_sybils_push_out_each_other_but_nobody_the_admin_knows() {
    let mut directory = directory();
    let id = |n: usize| PeerId([&(n as u64).to_be_bytes()[..], &[5; 24]].concat().try_into().unwrap());
    directory.upsert(id(0), &seen(1)).unwrap();
    directory.set_trust(id(1), Trust::Trusted).unwrap();
    directory.set_trust(id(2), Trust::Blocked).unwrap();
    directory.set_nickname(id(3), Some("friend")).unwrap();
    for n in 4..3 * MAX_PEERS {
        directory.upsert(id(n), &seen(HOUR + n as u64)).unwrap();
        assert!(directory.len() <= MAX_PEERS);
    }
    assert!(directory.get(&id(0)).is_none());
    assert!((1..4).all(|n| directory.get(&id(n)).is_some()));
    assert!(directory.get(&id(3 * MAX_PEERS - 1)).is_some());
    assert!(directory.blocked().contains(&id(2)));
}

#[test]
fn a_directory_full_of_opinions_says_so() {
    let mut directory = directory();
    for n in 0..MAX_PEERS as u64 {
        let id = PeerId([&n.to_be_bytes()[..], &[5; 24]].concat().try_into().unwrap());
        directory.set_trust(id, Trust::Blocked).unwrap();
    }
    assert_eq!(directory.upsert(peer(1, 1), &seen(1)), Err(DirectoryError::Full));
    assert_eq!(directory.len(), MAX_PEERS);
}

#[test]
fn every_holder_of_the_block_list_sees_a_change() {
    let mut directory = directory();
    let blocked = directory.blocked();
    directory.set_trust(peer(1, 1), Trust::Blocked).unwrap();
    assert!(blocked.contains(&peer(1, 1)));
    directory.set_trust(peer(1, 1), Trust::Known).unwrap();
    assert!(!blocked.contains(&peer(1, 1)));
    directory.set_trust(peer(1, 1), Trust::Blocked).unwrap();
    directory.forget(&peer(1, 1));
    assert!(!blocked.contains(&peer(1, 1)));
}

#[test]
fn only_changes_make_it_dirty() {
    let mut directory = directory();
    directory.upsert(peer(1, 1), &named("a")).unwrap();
    directory.note_address(peer(1, 1), "quic://a:1").unwrap();
    directory.note_seen(&peer(1, 1), 5);
    directory.set_trust(peer(1, 1), Trust::Trusted).unwrap();
    assert!(directory.dirty());
    directory.save().unwrap();
    assert!(!directory.dirty());
    directory.upsert(peer(1, 1), &named("a")).unwrap();
    directory.note_address(peer(1, 1), "quic://a:1").unwrap();
    directory.note_seen(&peer(1, 1), 4);
    directory.note_seen(&peer(2, 2), 4);
    directory.set_trust(peer(1, 1), Trust::Trusted).unwrap();
    assert!(!directory.dirty());
}

#[test]
fn an_exported_block_list_is_taken_in_by_another_node() {
    let (mut here, mut there) = (directory(), directory());
    for byte in 1..=3 {
        here.set_trust(PeerId([byte; 32]), Trust::Blocked).unwrap();
    }
    here.set_nickname(PeerId([1; 32]), Some("# troll")).unwrap();
    let list = here.export_blocks();
    there.set_trust(PeerId([2; 32]), Trust::Blocked).unwrap();
    let imported = there.import_blocks(&list).unwrap();
    assert_eq!((imported.added, imported.known), (vec![PeerId([1; 32]), PeerId([3; 32])], 1));
    assert!(there.blocked().contains(&PeerId([3; 32])));
    let again = there.import_blocks(&format!("\r\n{list}\r\n\n   # nothing\n")).unwrap();
    assert_eq!((again.added.len(), again.known), (0, 3));
}

#[test]
fn a_block_list_with_a_wrong_line_blocks_nobody() {
    let mut directory = directory();
    let trusted = PeerId([9; 32]);
    directory.set_trust(trusted, Trust::Trusted).unwrap();
    let good = PeerId([1; 32]).to_string();
    let own = directory.own.peer_id().to_string();
    for wrong in ["nonsense", "0101", &own, &trusted.to_string(), "\u{1b}[2J"] {
        let error = directory.import_blocks(&format!("{good}\n\n{wrong} # why not\n{good}")).unwrap_err();
        assert!(error.to_string().starts_with("line 3: "), "{error}");
        assert_eq!(directory.trust(&PeerId([1; 32])), Trust::Known);
    }
    let (blocked, favoured) = directory.judged();
    assert!(!blocked.contains(&PeerId([1; 32])) && favoured.contains(&trusted));
}

#[test]
fn a_block_list_that_does_not_fit_blocks_nobody() {
    let mut directory = directory();
    let key = |n: usize| {
        let mut key = [1; 32];
        key[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
        PeerId(key).to_string()
    };
    let list: Vec<String> = (0..=MAX_PEERS).map(key).collect();
    assert_eq!(directory.import_blocks(&list.join("\n")).unwrap_err(), BlocksError::Full);
    assert!(directory.is_empty());
    assert_eq!(directory.import_blocks(&list[1..].join("\n")).unwrap().added.len(), MAX_PEERS);
}

#[test]
fn a_wrong_line_of_a_block_list_is_shown_without_its_control_characters() {
    let error = directory().import_blocks("abc\u{1b}[2J\u{9b}\n").unwrap_err().to_string();
    assert!(error.contains("abc") && !error.chars().any(char::is_control), "{error:?}");
}
