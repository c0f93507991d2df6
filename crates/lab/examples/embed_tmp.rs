use leafresh_engine::{Embedder, EmbeddingSettings, LlamaEmbedder};
use std::io::{BufRead, Write};
fn main() {
    let model = std::env::args().nth(1).unwrap();
    let e = LlamaEmbedder::load(std::path::Path::new(&model), &EmbeddingSettings::default()).unwrap();
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let lines: Vec<String> = std::io::stdin().lock().lines().map(|l| format!("query: {}", l.unwrap())).collect();
    for some in lines.chunks(16) {
        let texts: Vec<&str> = some.iter().map(String::as_str).collect();
        for x in e.embed(&texts).unwrap() {
            for v in x.meaning.iter().chain(&x.inner) { out.write_all(&v.to_le_bytes()).unwrap(); }
        }
    }
}
