use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use tempfile::TempDir;
use time::Duration as Span;

use super::*;

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn key(id: &str) -> SessionKey {
    SessionKey { owner: String::new(), id: id.into() }
}

fn turn(role: Role, text: impl Into<String>) -> Turn {
    Turn { role, text: text.into(), at: now() }
}

/// The `n`-th question, its answer, and the document that was offered.
fn update(n: usize) -> Update {
    Update {
        standing: Standing {
            base_category: "VEGAN".into(),
            category: format!("C{n}"),
            location: (n > 0).then(|| "beach".into()),
            work_type: None,
            adapter: (n > 1).then(|| "polite".into()),
        },
        turns: vec![turn(Role::User, format!("question {n}")), turn(Role::Assistant, format!("answer {n}"))],
        answer: Some(format!("a{n}")),
        offered: vec![format!("document-{n}")],
    }
}

struct File {
    dir: TempDir,
}

impl File {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("deeper/sessions.db")
    }

    fn open(&self) -> Sqlite {
        self.open_with(Options::default())
    }

    fn open_with(&self, options: Options) -> Sqlite {
        Sqlite::open(&self.path(), options).unwrap()
    }

    fn wide() -> Options {
        Options {
            limits: SessionLimits { days: 30, turns: 1_000_000, ..SessionLimits::default() },
            ..Options::default()
        }
    }
}

#[test]
fn what_was_recorded_is_there_after_the_file_was_closed_and_opened() {
    let file = File::new();
    for n in 0..3 {
        file.open().record(&key("a"), &update(n), now()).unwrap();
    }
    let session = file.open().load(&key("a"), now()).unwrap().unwrap();
    assert_eq!(session.standing, update(2).standing);
    let texts: Vec<_> = session.turns.iter().map(|turn| (turn.role.as_str(), &*turn.text)).collect();
    assert_eq!(texts[..2], [("user", "question 0"), ("assistant", "answer 0")]);
    assert_eq!(texts[4..], [("user", "question 2"), ("assistant", "answer 2")]);
    assert_eq!(session.offered, ["document-0", "document-1", "document-2"]);
    assert_eq!(session.expires_at, now() + Span::days(30));
    assert!(session.turns.iter().all(|turn| turn.at == now()));
}

#[test]
fn owners_do_not_see_each_others_sessions() {
    let file = File::new();
    let store = file.open();
    let other = SessionKey { owner: "shop".into(), id: "a".into() };
    store.record(&key("a"), &update(0), now()).unwrap();
    assert_eq!(store.load(&other, now()).unwrap(), None);
    store.record(&other, &update(1), now()).unwrap();
    store.delete(&key("a")).unwrap();
    assert_eq!(store.load(&key("a"), now()).unwrap(), None);
    assert_eq!(store.load(&other, now()).unwrap().unwrap().standing.category, "C1");
}

#[test]
fn a_session_is_forgotten_after_its_time_and_each_turn_prolongs_it() {
    let file = File::new();
    let store = file.open();
    store.record(&key("a"), &update(0), now()).unwrap();
    store.record(&key("b"), &update(0), now()).unwrap();
    let later = now() + Span::days(20);
    store.record(&key("b"), &update(1), later).unwrap();
    let end = now() + Span::days(30);
    assert!(store.load(&key("a"), end - Span::seconds(1)).unwrap().is_some());
    assert_eq!(store.load(&key("a"), end).unwrap(), None);
    assert_eq!(store.purge(end).unwrap(), 1);
    assert_eq!(store.purge(end).unwrap(), 0);
    assert_eq!(store.load(&key("b"), end).unwrap().unwrap().turns.len(), 4);
    // Begun again after it had expired, it knows nothing of what was before.
    let much_later = end + Span::days(60);
    store.record(&key("b"), &update(5), much_later).unwrap();
    assert_eq!(store.load(&key("b"), much_later).unwrap().unwrap().offered, ["document-5"]);
}

#[test]
fn only_the_newest_turns_are_kept() {
    let file = File::new();
    let store = file.open_with(Options {
        limits: SessionLimits { days: 1, turns: 5, ..SessionLimits::default() },
        ..Options::default()
    });
    for n in 0..9 {
        store.record(&key("a"), &update(n), now()).unwrap();
    }
    let session = store.load(&key("a"), now()).unwrap().unwrap();
    let texts: Vec<_> = session.turns.iter().map(|turn| &*turn.text).collect();
    assert_eq!(texts, ["answer 6", "question 7", "answer 7", "question 8", "answer 8"]);
    assert_eq!(session.offered.len(), 9, "what was offered is remembered longer than words");
}

#[test]
fn a_document_that_is_offered_again_moves_to_the_end() {
    let file = File::new();
    let store = file.open();
    for n in [0, 1, 2, 0] {
        store.record(&key("a"), &update(n), now()).unwrap();
    }
    let session = store.load(&key("a"), now()).unwrap().unwrap();
    assert_eq!(session.offered, ["document-1", "document-2", "document-0"]);
}

#[test]
fn deleted_words_are_in_none_of_the_files() {
    let file = File::new();
    let store = file.open();
    let secret = "a rather long and secret sentence that is easy to find".repeat(20);
    let mut update = update(0);
    update.turns[0].text.clone_from(&secret);
    store.record(&key("a"), &update, now()).unwrap();
    let holds = || {
        let files = std::fs::read_dir(file.path().parent().unwrap()).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .any(|bytes| bytes.windows(30).any(|window| window == &secret.as_bytes()[..30]))
    };
    assert!(holds(), "else the test shows nothing");
    store.delete(&key("a")).unwrap();
    assert!(!holds());
}

/// What others who have the file open do.
fn neighbour(file: &File) -> Connection {
    let connection = Connection::open(file.path()).unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    connection
}

/// Waits for what a thread does by itself.
fn until(done: impl Fn() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never");
}

/// Field report 11.
#[test]
fn while_somebody_holds_the_write_lock_one_waits_and_the_others_are_told_at_once() {
    let file = File::new();
    let store = file.open();
    store.record(&key("a"), &update(0), now()).unwrap();
    let neighbour = neighbour(&file);
    neighbour.execute_batch("BEGIN IMMEDIATE").unwrap();
    let patience = std::time::Instant::now();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..6)
            .map(|n| {
                let store = &store;
                scope.spawn(move || store.record(&key(&format!("s{n}")), &update(0), now()))
            })
            .collect();
        for call in calls {
            assert!(matches!(call.join().unwrap(), Err(Error::Busy)));
        }
    });
    // Six waits one after the other would be twelve seconds.
    assert!(patience.elapsed() < 3 * PATIENCE, "{:?}", patience.elapsed());
    assert!(store.upkeep.is_blocked());
    assert!(matches!(store.record(&key("a"), &update(1), now()), Err(Error::Busy)));
    neighbour.execute_batch("COMMIT").unwrap();
    until(|| store.record(&key("a"), &update(1), now()).is_ok());
    assert_eq!(store.load(&key("a"), now()).unwrap().unwrap().turns.len(), 4);
}

/// Field report 12.
#[test]
fn words_that_somebody_still_reads_are_overwritten_when_that_ends() {
    let file = File::new();
    let store = file.open();
    let mut update = update(0);
    update.turns[0].text = "a rather long and secret sentence that is easy to find".repeat(20);
    store.record(&key("a"), &update, now()).unwrap();
    let neighbour = neighbour(&file);
    neighbour.execute_batch("BEGIN; SELECT count(*) FROM turns;").unwrap();
    let log = || std::fs::metadata(file.path().with_extension("db-wal")).map_or(0, |about| about.len());
    store.delete(&key("a")).unwrap();
    assert!(log() > 0, "else the test shows nothing");
    assert_eq!(store.delayed_scrubs(), 1);
    // Others go on meanwhile.
    store.record(&key("b"), &self::update(0), now()).unwrap();
    neighbour.execute_batch("COMMIT").unwrap();
    until(|| log() == 0);
}

/// Field report 43.
#[test]
fn only_the_sessions_used_last_are_kept_of_an_owner_and_of_all() {
    let file = File::new();
    let limits = SessionLimits { per_owner: 3, most: 5, ..SessionLimits::default() };
    let store = file.open_with(Options { limits, ..Options::default() });
    let key = |owner: &str, n: usize| SessionKey { owner: owner.into(), id: n.to_string() };
    let record = |owner: &str, n: usize, second: i64| {
        store.record(&key(owner, n), &update(n), now() + Span::seconds(second)).unwrap();
    };
    let there = |owner: &str| -> Vec<usize> {
        (0..9).filter(|&n| store.load(&key(owner, n), now()).unwrap().is_some()).collect()
    };
    for (second, n) in [0, 1, 2, 0, 3].into_iter().enumerate() {
        record("a", n, second as i64);
    }
    assert_eq!(there("a"), [0, 2, 3], "the one that was used again stays");
    for n in 0..3 {
        record("b", n, 10 + n as i64);
    }
    assert_eq!((there("a"), there("b")), (vec![0, 3], vec![0, 1, 2]));
    // At the same moment too the one that was just written stays.
    for n in 4..8 {
        record("a", n, 20);
        assert!(there("a").contains(&n));
    }
}

#[test]
fn the_file_is_readable_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let file = File::new();
    let _store = file.open();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file.path()), mode(file.path().parent().unwrap())), (0o600, 0o700));
}

#[test]
fn a_file_that_is_no_database_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(&path, "not a database, but longer than a header of a hundred bytes ".repeat(9)).unwrap();
    let error = Sqlite::open(&path, Options::default()).unwrap_err().to_string();
    assert!(error.contains("notes.txt") && error.contains("[data] dir"), "{error}");
    let error = Sqlite::open(dir.path(), Options::default()).unwrap_err().to_string();
    assert!(error.contains("[data] dir"), "{error}");
}

/// Questions that came with their answer and their document.
fn whole_turns(session: &Session) -> Vec<usize> {
    let number = |text: &str| text.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
    let numbers: Vec<usize> = session
        .turns
        .chunks(2)
        .map(|pair| {
            let [question, answer] = pair else { panic!("a question without its answer") };
            assert_eq!((question.role, answer.role), (Role::User, Role::Assistant));
            assert_eq!(number(&question.text), number(&answer.text));
            number(&question.text)
        })
        .collect();
    let offered: BTreeSet<usize> =
        session.offered.iter().map(|id| id.strip_prefix("document-").unwrap().parse().unwrap()).collect();
    assert_eq!(offered, numbers.iter().copied().collect());
    numbers
}

#[test]
fn case_32_whichever_write_fails_no_acknowledged_turn_is_lost_and_none_is_half_there() {
    const TURNS: usize = 12;
    for n in 1.. {
        let file = File::new();
        let faults = Arc::new(Faults::every(n));
        let store = file.open_with(Options { faults: faults.clone(), ..File::wide() });
        let acknowledged: Vec<usize> =
            (0..TURNS).filter(|&turn| store.record(&key("a"), &update(turn), now()).is_ok()).collect();
        drop(store);
        let store = file.open();
        let found = store.load(&key("a"), now()).unwrap();
        assert_eq!(found.as_ref().map(whole_turns).unwrap_or_default(), acknowledged, "every {n}th fails");
        assert!(faults.failed() > 0 || acknowledged.len() == TURNS);
        // And it works again.
        store.record(&key("a"), &update(TURNS), now()).unwrap();
        if faults.failed() == 0 {
            break;
        }
    }
}

#[test]
fn case_32_a_delete_that_fails_has_deleted_nothing() {
    for n in 1.. {
        let file = File::new();
        file.open().record(&key("a"), &update(0), now()).unwrap();
        let faults = Arc::new(Faults::every(n));
        let store = file.open_with(Options { faults: faults.clone(), ..File::wide() });
        let deleted = store.delete(&key("a")).is_ok();
        assert_eq!(store.load(&key("a"), now()).unwrap().is_none(), deleted, "every {n}th fails");
        if faults.failed() == 0 {
            break;
        }
    }
}

#[test]
fn case_21_a_full_disk_refuses_a_turn_and_keeps_what_was_there() {
    let file = File::new();
    let store = file.open_with(Options { max_pages: 24, ..File::wide() });
    let mut acknowledged = 0;
    let full = loop {
        let mut more = update(acknowledged);
        more.turns[0].text = format!("{} {acknowledged}", "long ".repeat(400));
        match store.record(&key("a"), &more, now()) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full(_)), "{full}");
    let session = store.load(&key("a"), now()).unwrap().unwrap();
    assert_eq!(whole_turns(&session).len(), acknowledged);
    // Room again: it goes on.
    store.delete(&key("a")).unwrap();
    store.record(&key("b"), &update(0), now()).unwrap();
}

const WRITER: &str = "sqlite::tests::writes_until_it_is_killed";

#[test]
#[ignore = "the child process of the test below"]
fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os("LEAFRESH_TEST_STORE") else { return };
    let store = Sqlite::open(Path::new(&path), File::wide()).unwrap();
    let first = store.load(&key("a"), now()).unwrap().map_or(0, |session| session.turns.len() / 2);
    let mut out = std::io::stdout();
    for n in first.. {
        store.record(&key("a"), &update(n), now()).unwrap();
        writeln!(out, "saved {n}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn killed_twenty_times_at_random_moments_it_has_lost_no_acknowledged_turn() {
    let file = File::new();
    let mut acknowledged = 0;
    for round in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", WRITER, "--ignored", "--nocapture"])
            .env("LEAFRESH_TEST_STORE", file.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut saved =
            |line: String| line.trim().strip_prefix("saved ").map(|n| n.parse::<usize>().unwrap() + 1);
        // Some turns, and then somewhere inside the next ones.
        let turns = 1 + round * 7 % 5;
        acknowledged = lines.by_ref().map(Result::unwrap).filter_map(&mut saved).nth(turns).unwrap();
        std::thread::sleep(Duration::from_micros(u64::try_from(round).unwrap() * 397 % 3000));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = lines.map_while(Result::ok).filter_map(&mut saved).last().unwrap_or(acknowledged);
        let store = file.open_with(File::wide());
        let session = store.load(&key("a"), now()).unwrap().unwrap();
        let found = whole_turns(&session);
        assert!(found.len() >= acknowledged, "{} of {acknowledged} acknowledged turns", found.len());
        assert_eq!(found, (0..found.len()).collect::<Vec<_>>());
        let check: String = store.lock().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    }
    assert!(acknowledged >= 40);
}

#[derive(Debug, Clone)]
enum Step {
    Record(usize),
    Delete(usize),
    Later(i64),
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3_usize).prop_map(Step::Record),
        1 => (0..3_usize).prop_map(Step::Delete),
        2 => (0..3_i64).prop_map(Step::Later),
        1 => Just(Step::Purge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn it_does_what_a_simple_list_would_do(steps in proptest::collection::vec(step(), 1..40)) {
        let file = File::new();
        let limits = SessionLimits { days: 3, turns: 4, ..SessionLimits::default() };
        let store = file.open_with(Options { limits, ..Options::default() });
        let mut at = now();
        let mut naive: Vec<Option<(OffsetDateTime, Vec<String>)>> = vec![None; 3];
        for (n, step) in steps.into_iter().enumerate() {
            for session in &mut naive {
                session.take_if(|(expires, _)| *expires <= at);
            }
            match step {
                Step::Record(session) => {
                    store.record(&key(&session.to_string()), &update(n), at).unwrap();
                    let (expires, texts) = naive[session].get_or_insert((at, Vec::new()));
                    *expires = at + Span::days(3);
                    texts.extend(update(n).turns.into_iter().map(|turn| turn.text));
                    texts.drain(..texts.len().saturating_sub(4));
                }
                Step::Delete(session) => {
                    store.delete(&key(&session.to_string())).unwrap();
                    naive[session] = None;
                }
                Step::Later(days) => at += Span::days(days),
                Step::Purge => _ = store.purge(at).unwrap(),
            }
            for (session, expected) in naive.iter().enumerate() {
                let expected = expected.as_ref().filter(|(expires, _)| *expires > at);
                let found = store.load(&key(&session.to_string()), at).unwrap();
                let found = found.map(|session| {
                    (session.expires_at, session.turns.into_iter().map(|turn| turn.text).collect::<Vec<_>>())
                });
                prop_assert_eq!(found.as_ref(), expected);
            }
        }
    }
}

#[test]
fn an_answer_is_rated_by_its_name_and_its_rating_goes_with_it() {
    let file = File::new();
    let store = file.open();
    for n in 0..3 {
        store.record(&key("a"), &update(n), now()).unwrap();
    }
    let rate = |id: &str, answer: &str, rating| store.rate(&key(id), answer, rating, now()).unwrap();
    assert!(rate("a", "a2", Some(Rating::Down)) && rate("a", "a0", Some(Rating::Up)));
    // No such answer, another's session, one that has expired.
    assert!(!rate("a", "a9", Some(Rating::Up)) && !rate("b", "a0", Some(Rating::Up)));
    let owner = SessionKey { owner: "other".into(), ..key("a") };
    assert!(!store.rate(&owner, "a0", None, now()).unwrap());
    assert!(!store.rate(&key("a"), "a0", None, now() + Span::days(31)).unwrap());

    let rated = file.open().rated(now()).unwrap();
    let told: Vec<_> = rated
        .iter()
        .map(|rated| (rated.rating, rated.question.as_deref().unwrap(), rated.answer.as_str()))
        .collect();
    assert_eq!(told, [(Rating::Up, "question 0", "answer 0"), (Rating::Down, "question 2", "answer 2")]);
    assert_eq!(store.rated(now() + Span::days(31)).unwrap(), []);

    assert!(rate("a", "a0", Some(Rating::Down)) && rate("a", "a0", None));
    assert_eq!(store.rated(now()).unwrap().len(), 1);
    store.delete(&key("a")).unwrap();
    assert_eq!(store.rated(now()).unwrap(), []);
}

/// Field report 9. The program's tests have a kernel that says so.
#[test]
fn a_file_system_without_locks_is_told_from_one_that_somebody_else_locks() {
    let failure = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    for (code, about_locks) in [
        (rusqlite::ffi::SQLITE_IOERR_LOCK, true),
        (rusqlite::ffi::SQLITE_IOERR_RDLOCK, true),
        (rusqlite::ffi::SQLITE_NOLFS, true),
        (rusqlite::ffi::SQLITE_IOERR_WRITE, false),
        (rusqlite::ffi::SQLITE_BUSY, false),
    ] {
        assert_eq!(is_about_locks(&failure(code)), about_locks, "{code}");
    }
    let file = File::new();
    drop(file.open());
    let other = Connection::open(file.path()).unwrap();
    other.execute_batch("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE").unwrap();
    let error = Sqlite::open(&file.path(), Options::default()).unwrap_err();
    assert!(matches!(error, Error::Open { .. }) && error.to_string().contains("another process"), "{error}");
    let left = std::fs::read_dir(file.path().parent().unwrap()).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.contains("-locks-")), "{names:?}");
}
