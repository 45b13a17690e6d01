//! What a disk may hold after the power was cut.
//!
//! A [`Disk`] follows the record of a program. It knows what was synced, and what was only told. [`Disk::cut`] then makes
//! the folder as it may be found at the next start: everything that was synced, and any part of the rest.
//!
//! What is allowed to happen to the rest, which is at least as harsh as any file system of Linux:
//! - writes that were not synced are there or not, each for itself, in any order, also in parts of 512 bytes (a sector is
//!   written whole or not at all); a file's length reaches as far as what is there, and holes read as zeros;
//! - a change of a file's length that was not synced is there or not;
//! - names (files made, renamed, removed, linked) are on the disk after a sync of their folder, and of nothing else. Of the
//!   later ones either a first part is there, in order (file systems with a journal), or in each folder a first part of
//!   its own (those without);
//! - what a failed sync should have covered may be lost for good, also if a later sync succeeds.
//!
//! Not tried: sectors that are damaged by the cut itself, disks that lie about their syncs, and old bytes that appear in
//! newly written room.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use crate::recorder::{Event, Inode};
use crate::{Failure, Outcome, Random, ensure};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: u64 = 512;

/// Bytes kept together in memory.
const PAGE: usize = 4096;

/// A place in the list of files and folders.
type Node = usize;

/// The folder that is followed.
const ROOT: Node = 0;

/// The bytes of a file. Holes take no memory.
#[derive(Debug, Clone, Default)]
struct Content {
    size: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

impl Content {
    fn write(&mut self, mut at: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (page, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let (piece, rest) = bytes.split_at(bytes.len().min(PAGE - within));
            let kept = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(kept)[within..within + piece.len()].copy_from_slice(piece);
            at += piece.len() as u64;
            bytes = rest;
        }
        self.size = self.size.max(at);
    }

    fn cut(&mut self, size: u64) {
        if size < self.size {
            let whole = size / PAGE as u64;
            self.pages.retain(|page, _| *page <= whole);
            if let Some(last) = self.pages.get_mut(&whole) {
                Arc::make_mut(last)[(size % PAGE as u64) as usize..].fill(0);
            }
        }
        self.size = size;
    }

    fn read(path: &Path) -> Outcome<Self> {
        let bytes = fs::read(path)?;
        let mut content = Self::default();
        for (page, piece) in (0..).zip(bytes.chunks(PAGE)) {
            if piece.iter().any(|byte| *byte != 0) {
                content.write(page * PAGE as u64, piece);
            }
        }
        content.cut(bytes.len() as u64);
        Ok(content)
    }

    fn save(&self, path: &Path) -> Outcome {
        let file = File::create(path)?;
        file.set_len(self.size)?;
        for (page, bytes) in &self.pages {
            let at = page * PAGE as u64;
            let len = PAGE.min(usize::try_from(self.size.saturating_sub(at)).unwrap_or(PAGE));
            file.write_all_at(bytes.get(..len).unwrap_or_default(), at)?;
        }
        Ok(())
    }
}

/// A change of a file that was not synced yet.
#[derive(Debug, Clone)]
enum Change {
    Write { at: u64, bytes: Arc<Vec<u8>> },
    Cut(u64),
}

impl Change {
    fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { at, bytes } => content.write(*at, bytes),
            Self::Cut(size) => content.cut(*size),
        }
    }

    /// Applies those sectors of it that `keeps` says.
    fn apply_some(&self, content: &mut Content, keeps: &mut dyn FnMut() -> bool) {
        let Self::Write { at, bytes } = self else {
            if keeps() {
                self.apply(content);
            }
            return;
        };
        let (mut at, mut rest) = (*at, bytes.as_slice());
        while !rest.is_empty() {
            let len = rest.len().min((SECTOR - at % SECTOR) as usize);
            let (piece, behind) = rest.split_at(len);
            if keeps() {
                content.write(at, piece);
            }
            at += len as u64;
            rest = behind;
        }
    }
}

#[derive(Debug, Clone)]
struct Pending {
    /// When it was told.
    moment: usize,
    change: Change,
    /// A sync that should have covered it failed.
    lost: bool,
}

#[derive(Debug, Clone)]
enum Thing {
    File { content: Content, pending: Vec<Pending> },
    Folder(BTreeMap<String, Node>),
}

/// Names that change together.
#[derive(Debug, Clone)]
struct Naming {
    moment: usize,
    names: Vec<(Node, String, Option<Node>)>,
}

impl Naming {
    fn touches(&self, folders: &BTreeSet<Node>) -> bool {
        self.names.iter().any(|(folder, ..)| folders.contains(folder))
    }

    fn folders(&self) -> impl Iterator<Item = Node> + '_ {
        self.names.iter().map(|(folder, ..)| *folder)
    }
}

/// How much of what was not synced is there after the cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    Least,
    /// Everything.
    Most,
    /// All names, and no bytes that were not synced.
    Names,
    /// All bytes, and no names that were not synced.
    Bytes,
    /// Any part.
    Any,
}

impl Cut {
    /// All ways.
    pub const ALL: [Self; 5] = [Self::Least, Self::Most, Self::Names, Self::Bytes, Self::Any];
}

/// A disk under a program.
#[derive(Debug, Clone)]
pub struct Disk {
    things: Vec<Thing>,
    by_inode: HashMap<Inode, Node>,
    namings: Vec<Naming>,
    syncs: HashMap<u64, usize>,
    moment: usize,
}

impl Disk {
    /// A disk that holds a folder as it stands now, all of it synced.
    pub fn holding(folder: &Path) -> Outcome<Self> {
        let mut disk = Self {
            things: Vec::new(),
            by_inode: HashMap::new(),
            namings: Vec::new(),
            syncs: HashMap::new(),
            moment: 0,
        };
        disk.take_in(folder)?;
        Ok(disk)
    }

    fn take_in(&mut self, path: &Path) -> Outcome<Node> {
        let meta = fs::symlink_metadata(path)?;
        if let Some(known) = self.by_inode.get(&meta.ino()) {
            return Ok(*known);
        }
        let node = self.add(meta.ino(), meta.is_dir());
        if meta.is_dir() {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let child = self.take_in(&entry.path())?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if let Some(Thing::Folder(names)) = self.things.get_mut(node) {
                    names.insert(name, child);
                }
            }
        } else {
            let content = Content::read(path)?;
            self.things[node] = Thing::File { content, pending: Vec::new() };
        }
        Ok(node)
    }

    fn add(&mut self, inode: Inode, is_folder: bool) -> Node {
        let thing = if is_folder {
            Thing::Folder(BTreeMap::new())
        } else {
            Thing::File { content: Content::default(), pending: Vec::new() }
        };
        self.things.push(thing);
        self.by_inode.insert(inode, self.things.len() - 1);
        self.things.len() - 1
    }

    fn node(&self, inode: Inode) -> Outcome<Node> {
        let node = self.by_inode.get(&inode).copied();
        node.ok_or_else(|| Failure::new(format!("the record speaks of inode {inode}, which it never made")))
    }

    fn name(&mut self, names: Vec<(Node, String, Option<Node>)>) {
        self.namings.push(Naming { moment: self.moment, names });
    }

    fn change(&mut self, inode: Inode, change: Change) -> Outcome {
        let node = self.node(inode)?;
        if let Some(Thing::File { pending, .. }) = self.things.get_mut(node) {
            pending.push(Pending { moment: self.moment, change, lost: false });
        }
        Ok(())
    }

    /// The next event of the record.
    pub fn follow(&mut self, event: &Event) -> Outcome {
        self.moment += 1;
        match event {
            Event::Made { folder, name, inode, is_folder } => {
                let folder = self.node(*folder)?;
                let node = self.add(*inode, *is_folder);
                self.name(vec![(folder, name.clone(), Some(node))]);
            }
            Event::Linked { folder, name, inode } => {
                let names = vec![(self.node(*folder)?, name.clone(), Some(self.node(*inode)?))];
                self.name(names);
            }
            Event::Renamed { from, to, inode } => {
                let gone = (self.node(from.0)?, from.1.clone(), None);
                let come = (self.node(to.0)?, to.1.clone(), Some(self.node(*inode)?));
                self.name(vec![gone, come]);
            }
            Event::Removed { folder, name } => {
                let names = vec![(self.node(*folder)?, name.clone(), None)];
                self.name(names);
            }
            Event::Written { inode, at, bytes } => {
                self.change(*inode, Change::Write { at: *at, bytes: Arc::new(bytes.clone()) })?;
            }
            Event::Cut { inode, size } => self.change(*inode, Change::Cut(*size))?,
            Event::SyncBegan { number, .. } => _ = self.syncs.insert(*number, self.moment),
            Event::SyncEnded { inode, number } => self.synced(*inode, *number)?,
            Event::SyncFailed { inode, number } => self.sync_failed(*inode, *number)?,
            Event::Strange(what) => {
                return Err(Failure::new(format!("the program wrote in a way that isn't recorded: {what}")));
            }
            Event::Said(_) | Event::Fault { .. } => {}
        }
        Ok(())
    }

    fn synced(&mut self, inode: Inode, number: u64) -> Outcome {
        let began = self.syncs.remove(&number).unwrap_or(0);
        let node = self.node(inode)?;
        match self.things.get_mut(node) {
            Some(Thing::File { content, pending }) => {
                pending.retain(|one| {
                    let covered = one.moment < began && !one.lost;
                    if covered {
                        one.change.apply(content);
                    }
                    !covered
                });
            }
            _ => self.names_synced(node, began),
        }
        Ok(())
    }

    /// All names of a folder that changed before the sync began, and what they hang together with.
    fn names_synced(&mut self, folder: Node, began: usize) {
        let mut folders = BTreeSet::from([folder]);
        let mut covered = BTreeSet::new();
        for (n, naming) in self.namings.iter().enumerate().rev() {
            if naming.moment < began && naming.touches(&folders) {
                folders.extend(naming.folders());
                covered.insert(n);
            }
        }
        let namings = std::mem::take(&mut self.namings);
        for (n, naming) in namings.into_iter().enumerate() {
            if covered.contains(&n) {
                put_names(&mut self.things, &naming);
            } else {
                self.namings.push(naming);
            }
        }
    }

    fn sync_failed(&mut self, inode: Inode, number: u64) -> Outcome {
        let began = self.syncs.remove(&number).unwrap_or(self.moment);
        let node = self.node(inode)?;
        if let Some(Thing::File { pending, .. }) = self.things.get_mut(node) {
            pending.iter_mut().filter(|one| one.moment < began).for_each(|one| one.lost = true);
        }
        Ok(())
    }

    /// How many changes of files and names are not synced.
    pub fn unsynced(&self) -> usize {
        let pending = |thing: &Thing| if let Thing::File { pending, .. } = thing { pending.len() } else { 0 };
        self.namings.len() + self.things.iter().map(pending).sum::<usize>()
    }

    /// Cuts the power now and makes the folder as it is found afterwards, at a place that doesn't exist yet.
    pub fn cut(&self, how: Cut, random: &mut Random, into: &Path) -> Outcome {
        let mut folders: Vec<Thing> =
            self.things.iter().map(|t| if let Thing::Folder(_) = t { t.clone() } else { empty() }).collect();
        self.kept_namings(how, random).iter().for_each(|naming| put_names(&mut folders, naming));
        let mut placed = HashMap::new();
        self.make(ROOT, &folders, how, random, into, &mut placed)
    }

    fn kept_namings(&self, how: Cut, random: &mut Random) -> Vec<&Naming> {
        match how {
            Cut::Least | Cut::Bytes => Vec::new(),
            Cut::Most | Cut::Names => self.namings.iter().collect(),
            Cut::Any if random.below(2) == 0 => {
                self.namings.iter().take(random.below(self.namings.len() + 1)).collect()
            }
            Cut::Any => {
                let mut closed = BTreeSet::new();
                let keeps = |naming: &&Naming| {
                    let kept = !naming.touches(&closed) && random.below(4) != 0;
                    if !kept {
                        closed.extend(naming.folders());
                    }
                    kept
                };
                self.namings.iter().filter(keeps).collect()
            }
        }
    }

    fn make(
        &self,
        node: Node,
        folders: &[Thing],
        how: Cut,
        random: &mut Random,
        path: &Path,
        placed: &mut HashMap<Node, std::path::PathBuf>,
    ) -> Outcome {
        match (self.things.get(node), folders.get(node)) {
            (Some(Thing::File { content, pending }), _) => {
                if let Some(first) = placed.get(&node) {
                    return Ok(fs::hard_link(first, path)?);
                }
                found(content, pending, how, random).save(path)?;
                placed.insert(node, path.to_owned());
            }
            (_, Some(Thing::Folder(names))) => {
                ensure!(placed.insert(node, path.to_owned()).is_none(), "a folder with two names");
                fs::create_dir(path)?;
                for (name, child) in names {
                    self.make(*child, folders, how, random, &path.join(name), placed)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn empty() -> Thing {
    Thing::File { content: Content::default(), pending: Vec::new() }
}

fn put_names(things: &mut [Thing], naming: &Naming) {
    for (folder, name, node) in &naming.names {
        let Some(Thing::Folder(names)) = things.get_mut(*folder) else { continue };
        match node {
            Some(node) => _ = names.insert(name.clone(), *node),
            None => _ = names.remove(name),
        }
    }
}

/// A file as it is found after the cut.
fn found(content: &Content, pending: &[Pending], how: Cut, random: &mut Random) -> Content {
    let mut content = content.clone();
    let first = random.below(pending.len() + 1);
    let way = random.below(5);
    for (n, one) in pending.iter().enumerate() {
        match (how, way) {
            (Cut::Least | Cut::Names, _) | (Cut::Any, 0) => {}
            (Cut::Most | Cut::Bytes, _) | (Cut::Any, 1) => one.change.apply(&mut content),
            // A first part, the last of it torn.
            (Cut::Any, 2) if n < first => one.change.apply(&mut content),
            (Cut::Any, 2) if n > first => {}
            // Some of them, whole.
            (Cut::Any, 3) => {
                if random.below(2) == 0 {
                    one.change.apply(&mut content);
                }
            }
            // Any sectors of any of them.
            (Cut::Any, _) => one.change.apply_some(&mut content, &mut || random.below(2) == 0),
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a synced file `a` of 1,000 bytes, to which `events` happened.
    fn disk(events: &[Event]) -> Outcome<Disk> {
        let place = tempfile::tempdir()?;
        fs::write(place.path().join("a"), [1; 1_000])?;
        let mut disk = Disk::holding(place.path())?;
        // The names of the events: the folder is 1, the file 2.
        let (folder, file) = (ROOT, 1);
        disk.by_inode = HashMap::from([(1, folder), (2, file)]);
        events.iter().try_for_each(|event| disk.follow(event))?;
        Ok(disk)
    }

    /// The files of a folder: names and bytes.
    type Files = Vec<(String, Vec<u8>)>;

    /// The names and bytes after each of many cuts.
    fn cuts(disk: &Disk, how: Cut) -> Outcome<BTreeSet<Files>> {
        let mut random = Random::seeded(1);
        let mut all = BTreeSet::new();
        for _ in 0..200 {
            let place = tempfile::tempdir()?;
            let folder = place.path().join("found");
            disk.cut(how, &mut random, &folder)?;
            let mut files = Vec::new();
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                files.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
            }
            files.sort();
            all.insert(files);
        }
        Ok(all)
    }

    fn write(at: u64, bytes: &[u8]) -> Event {
        Event::Written { inode: 2, at, bytes: bytes.to_vec() }
    }

    fn sync(inode: Inode, number: u64) -> [Event; 2] {
        [Event::SyncBegan { inode, number }, Event::SyncEnded { inode, number }]
    }

    #[test]
    fn what_was_synced_is_always_there_and_the_rest_in_any_part_of_it() -> Outcome {
        let mut events = vec![write(0, b"synced")];
        events.extend(sync(2, 1));
        events.push(write(510, &[7; 4]));
        let found = cuts(&disk(&events)?, Cut::Any)?;
        let mut expected = BTreeSet::new();
        for (first, second) in [(1, 1), (7, 1), (1, 7), (7, 7)] {
            let mut bytes = vec![1; 1_000];
            bytes[..6].copy_from_slice(b"synced");
            bytes[510..512].fill(first);
            bytes[512..514].fill(second);
            expected.insert(vec![("a".to_owned(), bytes)]);
        }
        assert_eq!(found, expected, "both sectors, one of them, none");
        Ok(())
    }

    #[test]
    fn a_write_after_the_sync_began_is_not_covered_by_it() -> Outcome {
        let events =
            [Event::SyncBegan { inode: 2, number: 1 }, write(0, b"x"), Event::SyncEnded { inode: 2, number: 1 }];
        assert_eq!(cuts(&disk(&events)?, Cut::Least)?, BTreeSet::from([vec![("a".to_owned(), vec![1; 1_000])]]));
        Ok(())
    }

    #[test]
    fn a_name_is_there_for_certain_only_after_a_sync_of_its_folder() -> Outcome {
        let made = Event::Made { folder: 1, name: "b".to_owned(), inode: 3, is_folder: false };
        let renamed = Event::Renamed { from: (1, "b".to_owned()), to: (1, "a".to_owned()), inode: 3 };
        let mut events = vec![made, Event::Written { inode: 3, at: 0, bytes: b"new".to_vec() }];
        events.extend(sync(3, 1));
        events.push(renamed);
        let names = |disk: &Disk| -> Outcome<BTreeSet<Vec<(String, usize)>>> {
            let short = |files: Vec<(String, Vec<u8>)>| files.into_iter().map(|(n, b)| (n, b.len())).collect();
            Ok(cuts(disk, Cut::Any)?.into_iter().map(short).collect())
        };
        let a = |len| ("a".to_owned(), len);
        let both = vec![a(1_000), ("b".to_owned(), 3)];
        assert_eq!(names(&disk(&events)?)?, BTreeSet::from([vec![a(1_000)], both, vec![a(3)]]));
        events.extend(sync(1, 2));
        assert_eq!(names(&disk(&events)?)?, BTreeSet::from([vec![a(3)]]));
        Ok(())
    }

    #[test]
    fn what_a_failed_sync_should_have_covered_may_be_lost_in_spite_of_a_later_one() -> Outcome {
        let mut events = vec![write(0, b"xy"), Event::SyncFailed { inode: 2, number: 1 }];
        events.extend(sync(2, 2));
        let found = cuts(&disk(&events)?, Cut::Any)?;
        assert_eq!(found.len(), 2, "there or not");
        Ok(())
    }
}
