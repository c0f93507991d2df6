use std::time::{Duration, SystemTime};

use super::*;

const COMMIT: &str = "0123456789012345678901234567890123456789";
const OLDER: &str = "9876543210987654321098765432109876543210";

/// SHA-256 of "one" and of "two".
const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
const TWO: &str = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";

struct Filled {
    dir: tempfile::TempDir,
    cache: Cache,
    repo: RepoId,
}

impl Filled {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().canonicalize().unwrap().join("hub"));
        Self { dir, cache, repo: RepoId::parse("owner/some-GGUF").unwrap() }
    }

    fn layout(&self) -> Layout {
        self.cache.layout(&self.repo)
    }

    /// As any tool of the Hub puts it there.
    fn put(&self, commit: &str, name: &str, etag: &str, content: &str) -> PathBuf {
        let layout = self.layout();
        fs::create_dir_all(layout.blobs()).unwrap();
        fs::write(layout.blob(etag), content).unwrap();
        layout.link(commit, name, etag).unwrap()
    }

    fn find(&self, reference: &str) -> Option<PathBuf> {
        self.cache.find(&Reference::parse(reference).unwrap())
    }
}

#[test]
fn a_file_is_found_by_name_at_main_first_and_links_lead_to_its_bytes() {
    let filled = Filled::new();
    assert_eq!(filled.find("hf:owner/some-GGUF"), None);
    let old = filled.put(OLDER, "a-Q4_K_M.gguf", ONE, "one");
    assert_eq!(filled.find("hf:owner/some-GGUF"), Some(old), "no branch leads there");
    let new = filled.put(COMMIT, "a-Q4_K_M.gguf", TWO, "two");
    filled.layout().refer("main", COMMIT).unwrap();
    // Whatever was changed last.
    filled.put(OLDER, "a-Q8_0.gguf", ONE, "one");
    assert_eq!(filled.find("hf:owner/some-GGUF:q4_k_m"), Some(new.clone()));
    assert_eq!(fs::read_to_string(&new).unwrap(), "two");
    assert_eq!(fs::read_link(&new).unwrap(), PathBuf::from(format!("../../blobs/{TWO}")));
    assert!(filled.find("hf:owner/some-GGUF:Q8_0").is_some(), "of another commit");
    assert_eq!(filled.find("hf:owner/some-GGUF:F16"), None);

    let nested = filled.put(COMMIT, "BF16/b-BF16-00001-of-00002.gguf", ONE, "one");
    assert_eq!(filled.find("hf:owner/some-GGUF:BF16"), None, "a part is missing");
    filled.put(COMMIT, "BF16/b-BF16-00002-of-00002.gguf", TWO, "two");
    assert_eq!(filled.find("hf:owner/some-GGUF:BF16"), Some(nested.clone()));
    assert_eq!(fs::read_to_string(nested).unwrap(), "one");
}

#[test]
fn what_lies_in_the_cache_is_listed_checked_and_removed_with_its_bytes() {
    let filled = Filled::new();
    assert!(filled.cache.list().unwrap().is_empty());
    filled.put(COMMIT, "a.gguf", ONE, "one");
    filled.put(OLDER, "a.gguf", ONE, "one");
    filled.put(COMMIT, "b.gguf", TWO, "changed");
    filled.put(COMMIT, "config.json", "0123", "{}");
    fs::create_dir_all(filled.cache.folder().join("datasets--x--y/snapshots")).unwrap();
    let list = filled.cache.list().unwrap();
    let names: Vec<_> = list.iter().map(|cached| (cached.name.as_str(), cached.bytes)).collect();
    assert_eq!(names, [("a.gguf", 3), ("b.gguf", 7)]);
    assert_eq!(list[0].verify().unwrap(), State::Whole);
    assert!(matches!(list[1].verify().unwrap(), State::Differs(found) if found != TWO));

    assert_eq!(filled.cache.remove(&list[..1]).unwrap(), 3);
    assert!(!filled.layout().blob(ONE).exists() && !filled.layout().snapshot(OLDER).exists());
    assert_eq!(filled.cache.list().unwrap(), list[1..]);
    filled.cache.remove(&list[1..]).unwrap();
    assert!(filled.layout().snapshot(COMMIT).join("config.json").exists(), "somebody else's");
    assert!(filled.dir.path().join("hub/datasets--x--y").exists());
}

#[test]
fn a_repository_without_files_leaves_nothing() {
    let filled = Filled::new();
    filled.put(COMMIT, "a.gguf", ONE, "one");
    filled.layout().refer("main", COMMIT).unwrap();
    filled.layout().accept("mit").unwrap();
    drop(filled.cache.lock(&filled.repo, ONE, || ()).unwrap());
    filled.cache.remove(&filled.cache.list().unwrap()).unwrap();
    assert!(!filled.layout().folder().exists() && !filled.layout().locks().exists());
}

#[test]
fn bytes_that_two_names_lead_to_stay_until_both_are_gone() {
    let filled = Filled::new();
    filled.put(COMMIT, "a.gguf", ONE, "one");
    filled.put(COMMIT, "b.gguf", ONE, "one");
    let list = filled.cache.list().unwrap();
    assert_eq!(filled.cache.remove(&list[..1]).unwrap(), 0);
    assert!(list[1].path.exists());
    assert_eq!(filled.cache.remove(&list[1..]).unwrap(), 3);
}

#[test]
fn only_what_nobody_finds_or_works_on_is_swept() {
    let filled = Filled::new();
    filled.put(COMMIT, "a.gguf", ONE, "one");
    let layout = filled.layout();
    let aged = |path: &Path| {
        fs::write(path, "left").unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(2)).unwrap();
    };
    let (stopped, working) = (layout.incomplete("aaaa"), layout.incomplete("bbbb"));
    let (orphan, fresh) = (layout.blob("cccc"), layout.blob("dddd"));
    for path in [&stopped, &working, &orphan] {
        aged(path);
    }
    fs::write(&fresh, "left").unwrap();
    let dangling = layout.link(OLDER, "gone.gguf", "eeee").unwrap();
    drop(filled.cache.lock(&filled.repo, "aaaa", || ()).unwrap());
    let held = filled.cache.lock(&filled.repo, "bbbb", || ()).unwrap();

    let found = filled.cache.leftovers().unwrap();
    let mut paths: Vec<_> = found.iter().map(|leftover| leftover.path.clone()).collect();
    paths.sort();
    let mut expected = vec![stopped, orphan, dangling];
    expected.sort();
    assert_eq!(paths, expected);
    assert_eq!(found.iter().map(|leftover| leftover.bytes).sum::<u64>(), 8);
    filled.cache.sweep(&found).unwrap();
    assert!(filled.cache.leftovers().unwrap().is_empty());
    assert!(working.exists() && fresh.exists() && !layout.snapshot(OLDER).exists());
    assert_eq!(filled.cache.list().unwrap().len(), 1);
    drop(held);
}

#[test]
fn what_a_killed_process_left_is_swept_where_the_next_one_writes() {
    let filled = Filled::new();
    let refs = filled.layout().folder().join("refs");
    fs::create_dir_all(&refs).unwrap();
    // No process has such a number.
    fs::write(refs.join(".leafresh-4294967295"), "").unwrap();
    fs::write(refs.join(".leafresh-x"), "").unwrap();
    filled.layout().refer("main", COMMIT).unwrap();
    let mut names: Vec<_> = fs::read_dir(&refs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".leafresh-x", "main"]);
    assert_eq!(fs::read_to_string(refs.join("main")).unwrap(), COMMIT);
}

#[test]
fn somebody_who_fetches_the_same_file_is_waited_for() {
    let filled = Filled::new();
    let held = filled.cache.lock(&filled.repo, "aaaa", || panic!("nobody has it")).unwrap();
    let (cache, repo) = (filled.cache.clone(), filled.repo.clone());
    let (sender, waits) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        cache.lock(&repo, "aaaa", || sender.send(()).unwrap()).unwrap();
    });
    waits.recv().unwrap();
    assert!(!other.is_finished());
    drop(held);
    other.join().unwrap();
}
