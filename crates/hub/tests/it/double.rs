//! A double of the Hub on a port of this machine, as far as downloads go: descriptions of repositories, `HEAD` with the headers
//! that tools go by, redirects to another host for the bytes, ranges, and what it says when it refuses. Tests of other crates
//! take this file too.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

/// What every commit is called.
pub(crate) const COMMIT: &str = "0123456789012345678901234567890123456789";

/// The token that is let in where one is needed.
pub(crate) const TOKEN: &str = "hf_the-right-token";

/// What it has and how it behaves; tests change it while it runs.
pub(crate) struct Behaviour {
    /// By `OWNER/REPO`.
    pub(crate) repos: BTreeMap<String, Repo>,
    /// Answers with this status and these headers come first, one a request.
    pub(crate) refusals: Vec<(u16, Vec<(&'static str, String)>)>,
    /// The bytes' host breaks the connection after so many bytes, as often as there are numbers.
    pub(crate) cuts: Vec<usize>,
    /// The bytes' host sends all of the file, whatever part is asked for.
    pub(crate) without_ranges: bool,
    /// What is served instead of the right bytes.
    pub(crate) swapped: Option<Vec<u8>>,
    /// How large it says that files are, whatever they are.
    pub(crate) claimed: Option<u64>,
}

#[derive(Clone)]
pub(crate) struct Repo {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// `cardData`.
    pub(crate) card: serde_json::Value,
    pub(crate) gated: bool,
    /// It has a new name.
    pub(crate) moved_to: Option<String>,
}

impl Repo {
    pub(crate) fn new(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        Self { files, card: serde_json::json!({ "license": "apache-2.0" }), gated: false, moved_to: None }
    }
}

pub(crate) struct Double {
    pub(crate) address: SocketAddr,
    pub(crate) behaviour: Arc<Mutex<Behaviour>>,
    /// Each request's first line, with the range that it asks for; those to the bytes' host begin with `bytes`.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

impl Double {
    pub(crate) fn start(repos: &[(&str, Repo)]) -> Self {
        let repos = repos.iter().map(|(name, repo)| ((*name).to_owned(), repo.clone())).collect();
        let behaviour = Behaviour {
            repos,
            refusals: Vec::new(),
            cuts: Vec::new(),
            without_ranges: false,
            swapped: None,
            claimed: None,
        };
        let behaviour = Arc::new(Mutex::new(behaviour));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let [hub, bytes] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, elsewhere) = (hub.local_addr().unwrap(), bytes.local_addr().unwrap());
        for (listener, is_hub) in [(hub, true), (bytes, false)] {
            let (behaviour, asked) = (behaviour.clone(), asked.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let (behaviour, asked) = (behaviour.clone(), asked.clone());
                    // Whoever asks may leave in the middle.
                    std::thread::spawn(move || {
                        let request = read(&stream)?;
                        let range = request.headers.get("range").map(|range| format!(" {range}"));
                        let host = if is_hub { "" } else { "bytes " };
                        let line =
                            format!("{host}{} {}{}", request.method, request.path, range.unwrap_or_default());
                        asked.lock().unwrap().push(line);
                        if is_hub {
                            answer(stream, &request, &behaviour, elsewhere)
                        } else {
                            serve(stream, &request, &behaviour)
                        }
                    });
                }
            });
        }
        Self { address, behaviour, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    pub(crate) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Request { method, path, headers })
}

fn head(stream: &mut TcpStream, status: u16, headers: &[(&str, String)]) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {status} Any\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.extend([*name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes())
}

fn whole(mut stream: TcpStream, status: u16, headers: &[(&str, String)], body: &[u8]) -> std::io::Result<()> {
    let length = ("content-length", body.len().to_string());
    head(&mut stream, status, &[headers, &[length]].concat())?;
    stream.write_all(body)
}

/// The Hub itself.
fn answer(
    stream: TcpStream,
    request: &Request,
    behaviour: &Mutex<Behaviour>,
    elsewhere: SocketAddr,
) -> std::io::Result<()> {
    let mut behaviour = behaviour.lock().unwrap();
    if !behaviour.refusals.is_empty() {
        let (status, headers) = behaviour.refusals.remove(0);
        return whole(stream, status, &headers, b"");
    }
    let coded = |code: &str| vec![("x-error-code", code.to_owned())];
    let token = request.headers.get("authorization").map(String::as_str);
    let right = token.is_some_and(|token| token == format!("Bearer {TOKEN}"));
    if token.is_some() && !right {
        let headers = [("x-error-message", "Invalid credentials in Authorization header".to_owned())];
        return whole(stream, 401, &headers, b"");
    }
    let path = request.path.trim_start_matches('/');
    let is_description = path.starts_with("api/models/");
    let parts: Vec<&str> = path.trim_start_matches("api/models/").splitn(3, '/').collect();
    let [owner, name, rest] = parts[..] else { return whole(stream, 404, &coded("RepoNotFound"), b"") };
    let Some(repo) = behaviour.repos.get(&format!("{owner}/{name}")) else {
        return whole(stream, 401, &coded("RepoNotFound"), b"");
    };
    if let Some(other) = &repo.moved_to {
        let place = request.path.replacen(&format!("{owner}/{name}"), other, 1);
        return whole(stream, 307, &[("location", place)], b"");
    }
    if is_description {
        if !["main", COMMIT].iter().any(|known| rest == format!("revision/{known}")) {
            return whole(stream, 404, &coded("RevisionNotFound"), b"");
        }
        let siblings: Vec<_> =
            repo.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let description = serde_json::json!({ "sha": COMMIT, "siblings": siblings, "cardData": repo.card });
        return whole(stream, 200, &[], description.to_string().as_bytes());
    }
    if repo.gated && !right {
        return whole(stream, 401, &coded("GatedRepo"), b"");
    }
    let file = rest.strip_prefix("resolve/").and_then(|rest| rest.split_once('/')).map(|(_, file)| file);
    let Some(bytes) = file.and_then(|file| repo.files.get(file)) else {
        return whole(stream, 404, &coded("EntryNotFound"), b"");
    };
    let mut stream = stream;
    let headers = [
        ("location", format!("http://{elsewhere}/{owner}/{name}/{}?signature=x", file.unwrap_or_default())),
        ("x-repo-commit", COMMIT.to_owned()),
        ("x-linked-etag", format!("\"{}\"", sha256(bytes))),
        ("x-linked-size", behaviour.claimed.unwrap_or(bytes.len() as u64).to_string()),
        ("etag", "\"of-the-redirect\"".to_owned()),
        ("content-length", "0".to_owned()),
    ];
    head(&mut stream, 302, &headers)
}

/// Where the bytes lie.
fn serve(mut stream: TcpStream, request: &Request, behaviour: &Mutex<Behaviour>) -> std::io::Result<()> {
    assert!(!request.headers.contains_key("authorization"), "the token is none of this host's business");
    let (bytes, cut, from) = {
        let mut behaviour = behaviour.lock().unwrap();
        let path = request.path.split('?').next().unwrap_or_default().trim_start_matches('/');
        let mut parts = path.splitn(3, '/');
        let repo = format!("{}/{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let right = behaviour.repos[&repo].files[parts.next().unwrap_or_default()].clone();
        let bytes = behaviour.swapped.clone().unwrap_or(right);
        let range = request.headers.get("range").filter(|_| !behaviour.without_ranges);
        let from =
            range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        let cut = (!behaviour.cuts.is_empty()).then(|| behaviour.cuts.remove(0));
        (bytes, cut, from)
    };
    let (status, sent) = match from {
        Some(from) if from >= bytes.len() => {
            return whole(stream, 416, &[("content-range", format!("bytes */{}", bytes.len()))], b"");
        }
        Some(from) => (206, &bytes[from..]),
        None => (200, &bytes[..]),
    };
    let range = format!("bytes {}-{}/{}", from.unwrap_or(0), bytes.len() - 1, bytes.len());
    let mut headers = vec![("content-length", sent.len().to_string())];
    if status == 206 {
        headers.push(("content-range", range));
    }
    head(&mut stream, status, &headers)?;
    stream.write_all(&sent[..cut.unwrap_or(sent.len()).min(sent.len())])
}
