//! `leafresh index`, killed again and again at random moments.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use leafresh_engine::{EmbeddingSettings, LlamaEmbedder};
use leafresh_retrieval::{Index, Location, Query};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model_files;
use crate::run::{leafresh, text};

const KILLS: usize = 20;

/// Documents at first, and more whenever all are indexed.
const FIRST: usize = 400;
const MORE: usize = 500;

/// The embedding model that `make run` takes.
pub(crate) fn embedding_model() -> Option<PathBuf> {
    model_files::model("multilingual-e5-small-Q4_0.gguf")
}

struct Setting {
    dir: TempDir,
    model: PathBuf,
    documents: usize,
}

/// A document like no other, and still short: what takes time is how many there are.
fn document(number: usize) -> String {
    const WHERE: [&str; 10] =
        ["부엌", "거실", "마당", "옥상", "교실", "시장", "공원", "회의실", "버스", "바닷가"];
    const WHAT: [&str; 11] =
        ["전등", "수건", "화분", "우산", "냄비", "신문", "단추", "자전거", "창문", "의자", "연필"];
    const HOW: [&str; 16] = [
        "끄기",
        "말리기",
        "고치기",
        "나누기",
        "닦기",
        "모으기",
        "빌리기",
        "옮기기",
        "세기",
        "칠하기",
        "묶기",
        "적기",
        "씻기",
        "접기",
        "그리기",
        "재기",
    ];
    let (place, rest) = (WHERE[number % 10], number / 10);
    let (what, rest) = (WHAT[rest % 11], rest / 11);
    format!("{}월에 {place}에서 {what} {}", 1 + rest / 16, HOW[rest % 16])
}

impl Setting {
    /// With a small catalogue, which is indexed too.
    fn new(model: PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog");
        let catalog = dir.path().join("catalog");
        let copied = Command::new("cp").arg("-r").arg(real).arg(&catalog).status().unwrap();
        assert!(copied.success());
        // They are of documents that aren't there then.
        std::fs::remove_dir_all(catalog.join("tellings")).unwrap();
        std::fs::remove_file(catalog.join("openings.jsonl")).unwrap();
        for entry in std::fs::read_dir(catalog.join("documents")).unwrap() {
            let path = entry.unwrap().path();
            let all = std::fs::read_to_string(&path).unwrap();
            let few: String = all.lines().take(4).map(plain).collect();
            std::fs::write(&path, few).unwrap();
        }
        std::fs::create_dir(dir.path().join("documents")).unwrap();
        let mut setting = Self { dir, model, documents: 0 };
        setting.grow(FIRST);
        setting
    }

    fn grow(&mut self, by: usize) {
        let numbers = self.documents..self.documents + by;
        let line =
            |number: usize| format!("{}\n", json!({ "id": number.to_string(), "text": document(number) }));
        let lines: String = numbers.map(line).collect();
        std::fs::write(self.dir.path().join(format!("documents/{}.jsonl", self.documents)), lines).unwrap();
        self.documents += by;
    }

    fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, data: &str) -> Command {
        let mut command = leafresh(&["index", "--catalog"]);
        command.arg(self.data("catalog")).arg("--embedding-model").arg(&self.model);
        command.arg(self.data("documents")).env("LEAFRESH_DATA__DIR", self.data(data));
        command
    }

    fn start(&self, data: &str) -> Child {
        let stderr = std::fs::File::create(self.data("stderr")).unwrap();
        self.command(data).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap()
    }

    /// To its end: what it says.
    fn run(&self, data: &str, more: &[&str]) -> String {
        let output = self.command(data).args(more).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Documents that the index acknowledges.
    fn acknowledged(&self) -> usize {
        let journal = std::fs::read_to_string(self.data("killed/index/journal.jsonl")).unwrap_or_default();
        let lines: Vec<&str> = journal.split_inclusive('\n').collect();
        let is_commit = |line: &&str| *line == "\"commit\"\n";
        let end = lines.iter().rposition(is_commit).map_or(0, |last| last + 1);
        lines[..end].iter().filter(|line| !is_commit(line)).count()
    }
}

/// A document of the catalogue without the questions that it is found by.
fn plain(line: &str) -> String {
    let mut document: Value = serde_json::from_str(line).unwrap();
    document.as_object_mut().unwrap().remove("questions");
    format!("{document}\n")
}

/// So many documents were indexed before, says the first line.
fn indexed_before(said: &str) -> usize {
    let parts = said.lines().next().unwrap_or_default().split("; ");
    parts
        .filter_map(|part| part.strip_suffix(" already indexed"))
        .map(|count| count.parse::<usize>().unwrap())
        .sum()
}

#[test]
fn killed_twenty_times_at_random_moments_an_index_goes_on_and_ends_like_one_that_was_left_alone() {
    let Some(model) = embedding_model() else { return };
    let mut setting = Setting::new(model);
    let mut random = StdRng::seed_from_u64(20);
    let (mut killed, mut acknowledged, mut steps) = (0, 0, 0);
    while killed < KILLS {
        let mut child = setting.start("killed");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        // While the model is loaded, while it embeds, and soon after a step is acknowledged, however fast this machine is.
        let latest = match killed % 5 {
            1 | 3 => {
                out.read_line(&mut said).unwrap();
                900
            }
            4 => {
                while child.try_wait().unwrap().is_none() && setting.acknowledged() == acknowledged {
                    std::thread::sleep(Duration::from_millis(2));
                }
                250
            }
            _ => 900,
        };
        std::thread::sleep(Duration::from_millis(random.random_range(0..latest)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        out.read_to_string(&mut said).unwrap();
        let stderr = std::fs::read_to_string(setting.data("stderr")).unwrap();
        if said.is_empty() {
            assert!(status.signal() == Some(9), "{status} {stderr}");
        } else {
            // Exactly what was acknowledged before counts.
            assert_eq!(indexed_before(&said), acknowledged, "{said}{stderr}");
        }
        assert!(!stderr.contains("missing from the index"), "{stderr}");
        let now = setting.acknowledged();
        assert!(now >= acknowledged, "{now} of {acknowledged}");
        steps += usize::from(now > acknowledged);
        acknowledged = now;
        if status.signal() == Some(9) {
            killed += 1;
        } else {
            assert!(status.success(), "{status} {stderr}");
            setting.grow(MORE);
        }
    }
    eprintln!("{killed} kills; {steps} runs got somewhere; {acknowledged} documents before the last one");

    assert!(steps >= KILLS / 5, "{steps}");
    let all = setting.documents + 32;
    let holds = format!("the index holds {all}\n");
    let said = setting.run("killed", &[]);
    assert_eq!(indexed_before(&said), acknowledged);
    assert!(said.ends_with(&holds), "{said}");
    assert!(setting.run("alone", &[]).ends_with(&holds));
    assert_eq!(setting.acknowledged(), all);
    // Nothing is left to do.
    let said = setting.run("killed", &["--dry-run"]);
    assert!(indexed_before(&said) == all && !said.contains("to be embedded"), "{said}");
    answers_alike(&setting);
}

#[tokio::main]
async fn answers_alike(setting: &Setting) {
    let embedder = Arc::new(LlamaEmbedder::load(&setting.model, &EmbeddingSettings::default()).unwrap());
    let open = async |data: &str| {
        let place = Location::Folder(setting.data(data).join("index"));
        Index::open(&place, embedder.clone()).await.unwrap().search()
    };
    let (killed, alone) = (open("killed").await, open("alone").await);
    for number in (0..setting.documents).step_by(23) {
        let vector = Some(killed.embed(&document(number)).await.unwrap());
        let query = Query { text: document(number), vector, limit: 50, ..Query::default() };
        let (hits, others) = (killed.search(&query).await.unwrap(), alone.search(&query).await.unwrap());
        assert_eq!(hits[0].document.text, document(number));
        assert_eq!(hits[0].document, others[0].document);
        assert!((hits[0].score - others[0].score).abs() < 1e-3, "{} {}", hits[0].score, others[0].score);
        let texts: HashSet<&str> = hits.iter().map(|hit| hit.document.text.as_str()).collect();
        assert!(texts.len() == hits.len() && hits.len() == others.len(), "twice: {hits:?}");
    }
}
