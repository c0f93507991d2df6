//! `leafresh bench search`: how well and how fast documents are found.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use leafresh_chat::Catalog;
use leafresh_engine::{Embedder, EmbedderInfo, Embedding, EmbeddingSettings, LlamaEmbedder};
use leafresh_retrieval::{Corpus, Document, Index, Location, Query, Search};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

/// Documents looked at for the reciprocal rank.
const DEPTH: usize = 20;

/// Documents among which a right one has to be for recall.
const AT: usize = 5;

const EXAMPLES: &str = "\
Prints, on the catalogue's documents, the mean reciprocal rank (MRR) and the recall of the labelled questions with 95 % \
confidence intervals, documents indexed per second, and the time from a question's text to its documents, embedded and \
searched on one thread; that last one among more documents too, which are made of the catalogue's sentences. Each goal gets \
a line: goal NAME VALUE TARGET ok|short";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Options {
    /// Questions and their documents: {"query": …, "relevant": [ID, …]} a line [default: eval/queries.jsonl of the catalogue,
    /// by which search was tuned, and eval/queries-fresh.jsonl, by which nothing was, apart and together]
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Read documents from DIR
    #[arg(long, value_name = "DIR", default_value = "catalog")]
    catalog: PathBuf,
    /// The embedding model, a GGUF file [default: that of the configuration]
    #[arg(long, value_name = "FILE")]
    embedding_model: Option<PathBuf>,
    /// Among so many documents the time is measured; commas between several
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1000,100000")]
    documents: Vec<usize>,
    /// Print the questions whose best document isn't a right one
    #[arg(long)]
    misses: bool,
}

#[derive(Debug, Deserialize)]
struct Labelled {
    query: String,
    relevant: Vec<String>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let catalog = Catalog::load(&options.catalog).context("--catalog names another folder")?;
    let sets = sets(options)?;
    let model = options
        .embedding_model
        .clone()
        .or_else(|| leafresh_server::config::Retrieval::default().file().ok().flatten());
    let model = model.context("--embedding-model FILE names the model")?;
    let load = |threads| {
        let settings = EmbeddingSettings { threads, ..EmbeddingSettings::default() };
        LlamaEmbedder::load(&model, &settings)
            .map(Arc::new)
            .context("--embedding-model FILE names another model")
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut goals = Goals::default();
        indexing(&catalog, load(cores)?, &mut goals).await?;
        let one = load(1)?;
        quality(options, &catalog, &sets, one.clone(), &mut goals).await?;
        let labelled: Vec<&Labelled> = sets.iter().flat_map(|(_, labelled)| labelled).collect();
        for &count in &options.documents {
            speed(&catalog, &labelled, one.clone(), count, &mut goals).await?;
        }
        goals.print()
    })
}

/// Questions by what is said of them.
fn sets(options: &Options) -> anyhow::Result<Vec<(&'static str, Vec<Labelled>)>> {
    if let Some(file) = &options.queries {
        return Ok(vec![("", read(file)?)]);
    }
    let mut sets = vec![("_tuned", read(&options.catalog.join("eval/queries.jsonl"))?)];
    let fresh = options.catalog.join("eval/queries-fresh.jsonl");
    if fresh.exists() {
        sets.push(("_fresh", read(&fresh)?));
    }
    Ok(sets)
}

fn read(file: &Path) -> anyhow::Result<Vec<Labelled>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let labelled: Vec<Labelled> = lines
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| format!("{}:{}", file.display(), number + 1))
        })
        .collect::<Result<_, _>>()?;
    if labelled.is_empty() {
        bail!("{} holds no questions", file.display());
    }
    Ok(labelled)
}

async fn open(folder: &Path, embedder: Arc<dyn Embedder>) -> anyhow::Result<Index> {
    Ok(Index::open(&Location::Folder(folder.to_owned()), embedder).await?)
}

/// Documents a second, on all cores: as most corpora have them, and with the questions of the catalogue's.
async fn indexing(catalog: &Catalog, embedder: Arc<dyn Embedder>, goals: &mut Goals) -> anyhow::Result<()> {
    let plain: Vec<Document> = catalog
        .documents()
        .iter()
        .map(|document| Document { questions: Vec::new(), ..document.clone() })
        .collect();
    let rate = indexed_per_second(&plain, embedder.clone()).await?;
    println!("{} documents without questions indexed, {rate:.0} a second", plain.len());
    goals.add("indexing_documents_per_second", rate, Target::AtLeast(90.0));
    let documents = catalog.documents();
    let texts = documents.iter().map(|document| 1 + document.questions.len()).sum::<usize>();
    if texts > documents.len() {
        let rate = indexed_per_second(documents, embedder).await?;
        let texts_rate = rate * texts as f64 / documents.len() as f64;
        println!(
            "with their questions {texts} texts, {rate:.0} documents and {texts_rate:.0} texts a second"
        );
    }
    Ok(())
}

async fn indexed_per_second(documents: &[Document], embedder: Arc<dyn Embedder>) -> anyhow::Result<f64> {
    let folder = Scratch::new()?;
    let index = open(&folder.0, embedder).await?;
    let started = Instant::now();
    let report = index.update(&Corpus::catalog(documents)).await?;
    Ok(report.embedded as f64 / started.elapsed().as_secs_f64())
}

async fn quality(
    options: &Options,
    catalog: &Catalog,
    sets: &[(&str, Vec<Labelled>)],
    embedder: Arc<dyn Embedder>,
    goals: &mut Goals,
) -> anyhow::Result<()> {
    let folder = Scratch::new()?;
    let index = open(&folder.0, embedder).await?;
    index.update(&Corpus::catalog(catalog.documents())).await?;
    let search = ready(&index, catalog).await?;
    let mut all = Ranks::default();
    for (name, labelled) in sets {
        let ranks = ranks(options, &search, labelled).await?;
        if sets.len() > 1 {
            ranks.add(name, goals);
        }
        all.reciprocal.extend(ranks.reciprocal);
        all.recalled.extend(ranks.recalled);
    }
    all.add("", goals);
    Ok(())
}

#[derive(Default)]
struct Ranks {
    reciprocal: Vec<f64>,
    recalled: Vec<f64>,
}

impl Ranks {
    fn add(&self, set: &str, goals: &mut Goals) {
        for (name, values, target) in
            [("retrieval_mrr", &self.reciprocal, 0.90), ("retrieval_recall_at_5", &self.recalled, 0.97)]
        {
            let (low, high) = interval(values);
            let mean = mean(values);
            let count = values.len();
            println!("{name}{set}: {mean:.3}, 95 % between {low:.3} and {high:.3}, {count} questions");
            goals.add(&format!("{name}{set}"), mean, Target::AtLeast(target));
        }
    }
}

/// A search as a server's: it has learned what the catalogue teaches.
async fn ready(index: &Index, catalog: &Catalog) -> anyhow::Result<Search> {
    let search = index.search();
    if let Some(metric) = search.learn_metric(catalog.documents()).await? {
        search.use_metric(metric);
    }
    Ok(search)
}

async fn ranks(options: &Options, search: &Search, labelled: &[Labelled]) -> anyhow::Result<Ranks> {
    let Ranks { mut reciprocal, mut recalled } = Ranks::default();
    for Labelled { query, relevant } in labelled {
        // Every place counts for the rank, the categories' share doesn't.
        let asked = Query { text: query.clone(), limit: DEPTH, per_category: DEPTH, ..Query::default() };
        let hits = search.search(&asked).await?;
        let rank = hits.iter().position(|hit| relevant.contains(&hit.document.id));
        reciprocal.push(rank.map_or(0.0, |rank| 1.0 / (rank as f64 + 1.0)));
        recalled.push(if rank.is_some_and(|rank| rank < AT) { 1.0 } else { 0.0 });
        if options.misses && rank != Some(0) {
            let best = hits.first().map_or("", |hit| &hit.document.title);
            let rank = rank.map_or("-".into(), |rank| (rank + 1).to_string());
            println!("  {rank:>3}  {query}  → {best}  (expected {})", relevant.join(", "));
        }
    }
    Ok(Ranks { reciprocal, recalled })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The middle 95 % of the means of resampled values (the percentile bootstrap, Efron 1979).
fn interval(values: &[f64]) -> (f64, f64) {
    let mut rng = StdRng::seed_from_u64(1);
    let mut means: Vec<f64> = (0..2000)
        .map(|_| (0..values.len()).map(|_| values[rng.random_range(0..values.len())]).sum::<f64>())
        .map(|sum| sum / values.len() as f64)
        .collect();
    means.sort_by(f64::total_cmp);
    (means[means.len() / 40], means[means.len() - 1 - means.len() / 40])
}

/// From a question's text to its documents, among `count` of them.
async fn speed(
    catalog: &Catalog,
    labelled: &[&Labelled],
    embedder: Arc<LlamaEmbedder>,
    count: usize,
    goals: &mut Goals,
) -> anyhow::Result<()> {
    let folder = Scratch::new()?;
    let stand_in = Arc::new(StandIn::new(embedder, catalog.documents())?);
    let index = open(&folder.0, stand_in.clone()).await?;
    let started = Instant::now();
    index.update(&Corpus::catalog(&made_up(catalog.documents(), count))).await?;
    println!("{count} made-up documents stored in {:.1} s", started.elapsed().as_secs_f64());
    let search = ready(&index, catalog).await?;
    time(&search, &labelled[..labelled.len().min(20)]).await?;
    let mut times = time(&search, labelled).await?;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!("question to documents among {count}: p50 {:.1} ms, p95 {:.1} ms", at(0.5), at(0.95));
    let target = if count <= 10_000 { 40.0 } else { 60.0 };
    goals.add(&format!("search_p95_ms_of_{count}"), at(0.95), Target::AtMost(target));
    Ok(())
}

async fn time(search: &Search, labelled: &[&Labelled]) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for Labelled { query, .. } in labelled {
        let started = Instant::now();
        search.search(&Query { text: query.clone(), ..Query::default() }).await?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// Documents with the catalogue's sentences put together anew.
fn made_up(documents: &[Document], count: usize) -> Vec<Document> {
    let mut rng = StdRng::seed_from_u64(2);
    (0..count)
        .filter_map(|number| {
            let (one, other) = (documents.choose(&mut rng)?, documents.choose(&mut rng)?);
            Some(Document {
                id: format!("made-up-{number}"),
                title: format!("{} {number}", one.title),
                text: format!("{} {}", one.short, other.text),
                questions: Vec::new(),
                ..one.clone()
            })
        })
        .collect()
}

/// Embeds questions, and gives documents the vectors of the catalogue's, moved a little: embedding 100,000 takes half an hour,
/// and their vectors would be searched no faster.
struct StandIn {
    questions: Arc<LlamaEmbedder>,
    vectors: Vec<Vec<f32>>,
}

impl StandIn {
    fn new(questions: Arc<LlamaEmbedder>, documents: &[Document]) -> anyhow::Result<Self> {
        let texts: Vec<String> =
            documents.iter().map(|document| format!("passage: {}", document.text)).collect();
        let vectors = questions.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>())?;
        let vectors = vectors.into_iter().map(|embedding| embedding.meaning).collect();
        Ok(Self { questions, vectors })
    }

    fn moved(&self, text: &str) -> Vec<f32> {
        let seed = text.bytes().fold(7u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mut rng = StdRng::seed_from_u64(seed);
        let near = self.vectors.choose(&mut rng).cloned().unwrap_or_default();
        let moved: Vec<f32> = near.iter().map(|x| x + rng.random_range(-0.02..0.02)).collect();
        let length = moved.iter().map(|x| x * x).sum::<f32>().sqrt();
        moved.iter().map(|x| x / length).collect()
    }
}

impl Embedder for StandIn {
    fn embed(&self, texts: &[&str]) -> Result<Vec<Embedding>, leafresh_engine::Error> {
        if texts.iter().all(|text| text.starts_with("query: ")) {
            return self.questions.embed(texts);
        }
        let embedding = |text: &&str| Embedding { meaning: self.moved(text), inner: Vec::new() };
        Ok(texts.iter().map(embedding).collect())
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len() / 4
    }

    fn info(&self) -> &EmbedderInfo {
        self.questions.info()
    }
}

/// A folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("leafresh-bench-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).with_context(|| format!("{} can't be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug, Clone, Copy)]
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug, Default)]
struct Goals {
    lines: Vec<(String, f64, Target)>,
    names: HashSet<String>,
}

impl Goals {
    fn add(&mut self, name: &str, value: f64, target: Target) {
        if self.names.insert(name.to_owned()) {
            self.lines.push((name.to_owned(), value, target));
        }
    }

    fn print(&self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        for (name, value, target) in &self.lines {
            let (met, bound) = match *target {
                Target::AtLeast(bound) => (*value >= bound, bound),
                Target::AtMost(bound) => (*value <= bound, bound),
            };
            let verdict = if met { "ok" } else { "short" };
            writeln!(out, "goal {name} {value:.3} {bound} {verdict}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_holds_the_mean_and_narrows_with_more_values() {
        let values: Vec<f64> = (0..200).map(|n| f64::from(u8::from(n % 4 > 0))).collect();
        let (low, high) = interval(&values);
        assert!(low < 0.75 && 0.75 < high && high - low < 0.15, "{low} {high}");
        let (few_low, few_high) = interval(&values[..20]);
        assert!(few_high - few_low > high - low);
        assert_eq!(interval(&[1.0; 10]), (1.0, 1.0));
    }
}
