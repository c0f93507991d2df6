//! What is fetched, how often, and what is left when it goes wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leafresh_hub::{Cache, Error, Hub, Patience, Progress, Reference, Settings, State, Token};
use tempfile::TempDir;

use crate::double::{COMMIT, Double, Repo, TOKEN, sha256};

const NAME: &str = "a-Q4_K_M.gguf";

/// More than one block, and not a whole number of them.
fn model() -> Vec<u8> {
    (0..700_001u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

struct Place {
    dir: TempDir,
    cache: Cache,
    hub: Hub,
}

impl Place {
    fn of(double: &Double) -> Self {
        Self::with(double, |_| ())
    }

    fn with(double: &Double, change: impl FnOnce(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("hub"));
        let patience = Patience {
            tries: 3,
            pause: Duration::from_millis(1),
            silence: Duration::from_secs(20),
            longest: Duration::from_secs(2),
        };
        let mut settings = Settings { endpoint: double.url(), patience, ..Settings::of(&|_| None, None) };
        change(&mut settings);
        Self { dir, cache, hub: Hub::new(settings) }
    }

    fn fetch(&self, reference: &str) -> Result<Vec<PathBuf>, Error> {
        let reference = Reference::parse(reference).unwrap();
        self.hub.download(&self.cache, &reference, "main")?.fetch(|_| ())
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("hub/models--a--b")
    }

    fn incomplete(&self) -> PathBuf {
        self.folder().join("blobs").join(format!("{}.incomplete", sha256(&model())))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn one_model() -> Double {
    Double::start(&[("a/b", Repo::new(&[(NAME, &model()), ("README.md", b"#")]))])
}

#[test]
fn a_file_lies_where_the_hub_s_tools_look_for_it_and_is_fetched_once() {
    let double = one_model();
    let place = Place::of(&double);
    let paths = place.fetch("hf:a/b").unwrap();
    let path = place.folder().join("snapshots").join(COMMIT).join(NAME);
    assert_eq!(paths, std::slice::from_ref(&path));
    assert_eq!(std::fs::read(&path).unwrap(), model());
    assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("../../blobs").join(sha256(&model())));
    assert_eq!(std::fs::read_to_string(place.folder().join("refs/main")).unwrap(), COMMIT);
    assert_eq!(names(&place.folder().join("blobs")), [sha256(&model())]);
    assert_eq!(place.cache.find(&Reference::parse("hf:a/b:Q4_K_M").unwrap()), Some(path));
    assert_eq!(place.cache.list().unwrap()[0].verify().unwrap(), State::Whole);

    double.take_asked();
    place.fetch("hf:a/b").unwrap();
    assert!(double.take_asked().iter().all(|line| !line.starts_with("bytes")), "nothing is missing");
}

#[test]
fn a_connection_that_breaks_is_gone_on_with_from_where_it_broke() {
    let double = one_model();
    double.change(|hub| hub.cuts = vec![100_000, 0, 300_000]);
    let place = Place::of(&double);
    let reference = Reference::parse("hf:a/b").unwrap();
    let download = place.hub.download(&place.cache, &reference, "main").unwrap();
    assert_eq!(download.missing(), 700_001);
    let (mut again, mut last) = (0, 0);
    let paths = download.fetch(|progress| match progress {
        Progress::Again { .. } => again += 1,
        Progress::Here { bytes, .. } => {
            assert!(bytes >= last, "nothing is fetched twice");
            last = bytes;
        }
        Progress::Waits { .. } => panic!("nobody else is here"),
    });
    assert_eq!((again, last), (3, 700_001));
    assert_eq!(std::fs::read(&paths.unwrap()[0]).unwrap(), model());
    let asked: Vec<_> = double.take_asked().into_iter().filter(|line| line.starts_with("bytes")).collect();
    let ranges: Vec<_> = asked.iter().map(|line| line.rsplit('=').next().unwrap()).collect();
    assert_eq!(ranges, ["0-", "100000-", "100000-", "400000-"]);
}

#[test]
fn what_has_come_is_kept_for_the_next_time_and_the_next_process_goes_on() {
    let double = one_model();
    double.change(|hub| hub.cuts = vec![100_000, 0, 0, 0]);
    let place = Place::of(&double);
    let error = place.fetch("hf:a/b").unwrap_err().to_string();
    assert!(error.contains("goes on where it stopped"), "{error}");
    assert_eq!(std::fs::metadata(place.incomplete()).unwrap().len(), 100_000);
    assert_eq!(place.cache.find(&Reference::parse("hf:a/b").unwrap()), None, "it isn't whole");
    assert!(!place.folder().join("refs/main").exists());

    double.change(|hub| hub.cuts.clear());
    double.take_asked();
    let reference = Reference::parse("hf:a/b").unwrap();
    let download = place.hub.download(&place.cache, &reference, "main").unwrap();
    assert_eq!(download.missing(), 600_001);
    download.fetch(|_| ()).unwrap();
    assert!(double.take_asked().iter().any(|line| line.ends_with("bytes=100000-")));
    assert_eq!(place.cache.list().unwrap()[0].verify().unwrap(), State::Whole);
}

#[test]
fn a_server_that_can_not_go_on_in_the_middle_is_begun_with_anew() {
    let double = one_model();
    double.change(|hub| (hub.cuts, hub.without_ranges) = (vec![100_000], true));
    let place = Place::of(&double);
    let paths = place.fetch("hf:a/b").unwrap();
    assert_eq!(std::fs::read(&paths[0]).unwrap(), model());
}

#[test]
fn other_bytes_than_the_hub_names_are_deleted_however_they_came() {
    let mut other = model();
    other[350_000] ^= 1;
    let double = one_model();
    for swapped in [other.clone(), [other, b"more".to_vec()].concat()] {
        double.change(|hub| hub.swapped = Some(swapped));
        let place = Place::of(&double);
        assert!(matches!(place.fetch("hf:a/b"), Err(Error::Damaged { .. })));
        assert!(names(&place.folder().join("blobs")).is_empty());
        assert_eq!(place.cache.find(&Reference::parse("hf:a/b").unwrap()), None);
    }
    // What somebody else left half done may be something else, too.
    double.change(|hub| hub.swapped = None);
    let place = Place::of(&double);
    std::fs::create_dir_all(place.folder().join("blobs")).unwrap();
    std::fs::write(place.incomplete(), vec![0; 1000]).unwrap();
    assert!(matches!(place.fetch("hf:a/b"), Err(Error::Damaged { .. })));
    place.fetch("hf:a/b").unwrap();
    std::fs::remove_file(place.folder().join("blobs").join(sha256(&model()))).unwrap();
    std::fs::write(place.incomplete(), vec![0; 800_000]).unwrap();
    place.fetch("hf:a/b").unwrap();
}

#[test]
fn a_whole_file_under_its_temporary_name_is_only_checked() {
    let double = one_model();
    let place = Place::of(&double);
    std::fs::create_dir_all(place.folder().join("blobs")).unwrap();
    std::fs::write(place.incomplete(), model()).unwrap();
    place.fetch("hf:a/b").unwrap();
    assert!(double.take_asked().iter().all(|line| !line.starts_with("bytes")));
    assert_eq!(place.cache.list().unwrap()[0].verify().unwrap(), State::Whole);
}

#[test]
fn all_parts_of_a_split_model_are_fetched() {
    let parts = ["Q8_0/m-00001-of-00002.gguf", "Q8_0/m-00002-of-00002.gguf"];
    let double = Double::start(&[("a/b", Repo::new(&[(parts[0], b"first"), (parts[1], b"second")]))]);
    let place = Place::of(&double);
    let paths = place.fetch("hf:a/b:Q8_0").unwrap();
    let read: Vec<_> = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert_eq!(read, ["first", "second"]);
    assert_eq!(place.cache.find(&Reference::parse("hf:a/b").unwrap()).as_ref(), paths.first());
}

#[test]
fn a_gated_repository_is_let_into_by_the_right_token_only() {
    let mut repo = Repo::new(&[(NAME, &model())]);
    repo.gated = true;
    let double = Double::start(&[("a/b", repo)]);
    let with = |token: Option<&str>| {
        let token = token.map(str::to_owned);
        let find = |name: &str| token.clone().filter(|_| name == "HF_TOKEN").map(Into::into);
        let token = Token::find(&find, None, None).unwrap();
        Place::with(&double, |settings| settings.token = token)
    };
    let error = with(None).fetch("hf:a/b").unwrap_err();
    assert!(
        matches!(&error, Error::Gated { .. }) && error.to_string().contains("/a/b and accept"),
        "{error}"
    );
    let error = with(Some("hf_another")).fetch("hf:a/b").unwrap_err();
    assert!(matches!(&error, Error::BadToken { .. }) && !error.to_string().contains("hf_another"), "{error}");
    // The double fails when the bytes' host sees the token.
    with(Some(TOKEN)).fetch("hf:a/b").unwrap();
}

#[test]
fn what_is_not_there_is_told_apart() {
    let double = one_model();
    let place = Place::of(&double);
    assert!(matches!(place.fetch("hf:a/c"), Err(Error::NoRepository { .. })));
    let error = place.fetch("hf:a/b:Q8_0").unwrap_err();
    assert!(error.to_string().contains(NAME), "{error}");
    let reference = Reference::parse("hf:a/b").unwrap();
    let error = place.hub.download(&place.cache, &reference, "v9").unwrap_err();
    assert!(matches!(error, Error::NoRevision { .. }), "{error}");
    assert!(place.hub.download(&place.cache, &reference, COMMIT).is_ok(), "a commit is one");
}

#[test]
fn a_server_that_is_busy_is_asked_again_when_it_says_and_one_that_says_much_later_is_not() {
    let double = one_model();
    let place = Place::of(&double);
    let later = |seconds: &str| (429, vec![("retry-after", seconds.to_owned())]);
    double.change(|hub| hub.refusals = vec![later("0"), (503, Vec::new())]);
    place.fetch("hf:a/b").unwrap();
    double.change(|hub| hub.refusals = vec![later("3600")]);
    let error = place.fetch("hf:a/b").unwrap_err();
    assert!(matches!(error, Error::TooMany { .. }), "{error}");
    double.change(|hub| hub.refusals = vec![(500, Vec::new()); 3]);
    let error = place.fetch("hf:a/b").unwrap_err();
    assert!(matches!(&error, Error::Network { .. }) && error.to_string().contains("500"), "{error}");
}

#[test]
fn a_repository_with_a_new_name_is_followed_there() {
    let mut old = Repo::new(&[(NAME, &model())]);
    old.moved_to = Some("a/new".into());
    let double = Double::start(&[("a/b", old), ("a/new", Repo::new(&[(NAME, &model())]))]);
    let place = Place::of(&double);
    assert_eq!(std::fs::read(&place.fetch("hf:a/b").unwrap()[0]).unwrap(), model());
}

#[test]
fn nobody_there_and_nothing_allowed_are_said() {
    let double = one_model();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::with(&double, |settings| settings.endpoint = format!("http://{nobody}"));
    let error = place.fetch("hf:a/b").unwrap_err().to_string();
    assert!(error.contains(&nobody.to_string()) && error.contains("HTTPS_PROXY"), "{error}");
    let place = Place::with(&double, |settings| settings.offline = true);
    assert!(matches!(place.fetch("hf:a/b"), Err(Error::Offline)));
    assert!(double.take_asked().is_empty());
}

#[test]
fn terms_are_accepted_once_for_each_that_a_repository_has() {
    let double = one_model();
    let place = Place::of(&double);
    let reference = Reference::parse("hf:a/b").unwrap();
    let download = || place.hub.download(&place.cache, &reference, "main").unwrap();
    assert!(!download().is_accepted());
    download().accept().unwrap();
    assert!(download().is_accepted());
    double.change(|hub| hub.repos.get_mut("a/b").unwrap().card = serde_json::json!({ "license": "other" }));
    assert!(!download().is_accepted(), "they have changed");
}

#[test]
fn two_that_fetch_the_same_file_fetch_it_once() {
    let double = one_model();
    let place = Place::of(&double);
    std::thread::scope(|scope| {
        let fetching: Vec<_> = (0..3).map(|_| scope.spawn(|| place.fetch("hf:a/b").unwrap())).collect();
        for fetched in fetching {
            assert_eq!(std::fs::read(&fetched.join().unwrap()[0]).unwrap(), model());
        }
    });
    let bytes = double.take_asked().into_iter().filter(|line| line.starts_with("bytes"));
    assert_eq!(bytes.count(), 1);
}
