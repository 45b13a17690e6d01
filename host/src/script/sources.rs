//! What bots may read from outside: the files and HTTP addresses that the admin has named for them.
//!
//! A bot asks for a source by the admin's name for it and never learns or chooses the place, which may hold a password. What
//! went wrong there stands in the node's log, without the place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use tokio::sync::Mutex;

use crate::api::{ApiError, SourceText};

use super::{BotConfig, nearest};

/// Longest text of a source, in bytes; a longer one is refused, not cut.
const SOURCE_TEXT_BYTES: u64 = 256 << 10;
/// What was read stays good for so long: a bot that asks in a loop asks nobody.
const FRESH: Duration = Duration::from_secs(5);
/// How long a server may take in all.
const HTTP_TIME: Duration = Duration::from_secs(15);

/// What one read came to, and when.
#[derive(Debug)]
struct Kept {
    at: Instant,
    result: Result<SourceText, ApiError>,
    /// What the admin was told last; nothing while all is well.
    told: Option<String>,
}

/// Why a source can't be read.
#[derive(Debug)]
struct Failed {
    code: &'static str,
    /// In words that say nothing of the place.
    why: String,
    /// All that is known, for the admin.
    whole: String,
}

/// The sources of all bots.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// By the bot's name and the source's.
    places: BTreeMap<(String, String), String>,
    /// The last reads. A lock for each source, locked while somebody reads: of several that ask at once one does, and the
    /// others need no thread to wait.
    kept: BTreeMap<(String, String), Arc<Mutex<Option<Kept>>>>,
}

impl Sources {
    pub(crate) fn new(bots: &BTreeMap<String, BotConfig>) -> Self {
        let of = |(bot, config): (&String, &BotConfig)| {
            let bot = bot.clone();
            let named = config.sources.clone().into_iter();
            named.map(move |(name, place)| ((bot.clone(), name), place)).collect::<Vec<_>>()
        };
        let places: BTreeMap<_, _> = bots.iter().flat_map(of).collect();
        let kept = places.keys().map(|key| (key.clone(), Arc::default())).collect();
        Self { places, kept }
    }

    /// The same, with those of one bot from somewhere else.
    pub(crate) fn renewed(&self, bot: &str, other: Self) -> Self {
        let mut all = self.clone();
        all.places.retain(|(owner, _), _| owner != bot);
        all.kept.retain(|(owner, _), _| owner != bot);
        all.places.extend(other.places.into_iter().filter(|((owner, _), _)| owner == bot));
        all.kept.extend(other.kept.into_iter().filter(|((owner, _), _)| owner == bot));
        all
    }

    /// Reads a source. Waits for the disk or the network on a thread made for that.
    ///
    /// # Errors
    /// `unknown-source`; `source-failed` where it can't be read at the moment; `too-large`.
    pub(crate) async fn read(&self, bot: &str, name: &str) -> Result<SourceText, ApiError> {
        let key = (bot.to_owned(), name.to_owned());
        let (Some(place), Some(kept)) = (self.places.get(&key), self.kept.get(&key)) else {
            return Err(self.unknown(bot, name));
        };
        let (place, mut kept) = (place.clone(), Arc::clone(kept).lock_owned().await);
        if let Some(kept) = &*kept
            && kept.at.elapsed() < FRESH
        {
            return kept.result.clone();
        }
        // The lock goes along: should whoever asks give up meanwhile, nobody else begins a second read.
        let read = move || {
            let before = kept.take();
            kept.insert(Kept::read(&key, &place, before.as_ref())).result.clone()
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| ApiError::new("internal", error.to_string()))?
    }

    fn unknown(&self, bot: &str, name: &str) -> ApiError {
        let names: Vec<&str> =
            self.places.keys().filter(|(owner, _)| owner == bot).map(|(_, name)| name.as_str()).collect();
        let near = nearest(name, names).map_or(String::new(), |near| format!("; did you mean '{near}'?"));
        let shown = super::duration::shorten(name);
        let message = format!(
            "the admin has named no source '{shown}' for this bot{near} In the configuration: \
             [scripts.bots.{bot}.sources] {shown} = \"/path/of/a/file\" or \"https://host/path\""
        );
        ApiError::new("unknown-source", message)
    }
}

impl Kept {
    /// Reads a source. The admin is told of a failure once, and then of another one.
    fn read((bot, name): &(String, String), place: &str, before: Option<&Self>) -> Self {
        let result = read(place);
        // Passwords and keys in an address are no matter of logs.
        let told = result.as_ref().err().map(|failed| failed.whole.replace(place, "its place"));
        if let Some(whole) = &told
            && before.is_none_or(|before| before.told != told)
        {
            tracing::warn!(target: "qpq::script", bot, "the source '{name}', whose place the configuration says, can't be read: {whole}");
        }
        let shown = super::duration::shorten(name);
        let error = |failed: Failed| {
            ApiError::new(failed.code, format!("the source '{shown}': {}; the node's log has more", failed.why))
        };
        Self { at: Instant::now(), result: result.map_err(error), told }
    }
}

fn failed(why: impl Into<String>, whole: impl std::fmt::Display) -> Failed {
    Failed { code: "source-failed", why: why.into(), whole: whole.to_string() }
}

fn too_large() -> Failed {
    let why = format!("it has more than {} KiB", SOURCE_TEXT_BYTES >> 10);
    Failed { code: "too-large", whole: why.clone(), why }
}

/// Why nothing can be read there, as far as it shows by how the place is written.
pub(crate) fn place_problem(place: &str) -> Option<&'static str> {
    let fits = is_address(place) || Path::new(place).is_absolute();
    (!fits).then_some("the place of a source is an absolute path or an http(s) address")
}

fn is_address(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

fn read(place: &str) -> Result<SourceText, Failed> {
    match place_problem(place) {
        Some(problem) => Err(failed("its place is wrong", problem)),
        None if is_address(place) => fetch(place),
        None => file(Path::new(place)),
    }
}

fn file(path: &Path) -> Result<SourceText, Failed> {
    let told = |error: std::io::Error| failed("the file can't be read", error);
    // Looked at before it is opened: opening a pipe would wait for its other end.
    let meta = std::fs::metadata(path).map_err(told)?;
    if !meta.is_file() {
        return Err(failed("the file can't be read", "it is no file"));
    }
    let mut text = Vec::new();
    File::open(path).map_err(told)?.take(SOURCE_TEXT_BYTES + 1).read_to_end(&mut text).map_err(told)?;
    if text.len() as u64 > SOURCE_TEXT_BYTES {
        return Err(too_large());
    }
    let changed = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Ok(SourceText { text, changed_ms: changed.map(|at| at.as_millis() as u64) })
}

/// Without redirects: they would lead to places that the admin didn't name.
fn fetch(place: &str) -> Result<SourceText, Failed> {
    let config = ureq::Agent::config_builder().timeout_global(Some(HTTP_TIME)).max_redirects(0);
    let agent: ureq::Agent = config.user_agent(concat!("qpq/", env!("CARGO_PKG_VERSION"))).build().into();
    let answer = agent.get(place).call().map_err(|error| refused(&error))?;
    if !answer.status().is_success() {
        return Err(refused(&ureq::Error::StatusCode(answer.status().as_u16())));
    }
    let text = answer.into_body().with_config().limit(SOURCE_TEXT_BYTES).read_to_vec();
    match text {
        Ok(text) => Ok(SourceText { text, changed_ms: None }),
        Err(ureq::Error::BodyExceedsLimit(_)) => Err(too_large()),
        Err(error) => Err(refused(&error)),
    }
}

/// Of what went wrong only the number of an answer is for the bot: other errors may quote the address.
fn refused(error: &ureq::Error) -> Failed {
    match error {
        ureq::Error::StatusCode(status) => {
            let why = format!("the server answered {status}");
            failed(why.clone(), why)
        }
        ureq::Error::Timeout(_) => failed("the server took too long", error),
        _ => failed("the server can't be asked", error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;

    fn sources(place: &str) -> Sources {
        let config =
            BotConfig { sources: BTreeMap::from([("weather".to_owned(), place.to_owned())]), ..BotConfig::default() };
        Sources::new(&BTreeMap::from([("feed".to_owned(), config)]))
    }

    #[tokio::test]
    async fn a_bot_reads_what_the_admin_named_for_it_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weather.txt");
        std::fs::write(&path, "12 degrees").unwrap();
        let sources = sources(path.to_str().unwrap());
        let text = sources.read("feed", "weather").await.unwrap();
        assert_eq!(text.text, b"12 degrees");
        assert!(text.changed_ms.is_some());
        for (bot, name) in [("feed", "/etc/passwd"), ("other", "weather"), ("feed", "wether")] {
            assert_eq!(sources.read(bot, name).await.unwrap_err().code, "unknown-source");
        }
        let error = sources.read("feed", "wether").await.unwrap_err();
        assert!(error.message.contains("did you mean 'weather'?"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_file_or_too_large_or_gone_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        std::fs::write(&path, vec![b'x'; SOURCE_TEXT_BYTES as usize + 1]).unwrap();
        let code = |place: String| async move { sources(&place).read("feed", "weather").await.unwrap_err().code };
        assert_eq!(code(path.to_str().unwrap().to_owned()).await, "too-large");
        assert_eq!(code(dir.path().to_str().unwrap().to_owned()).await, "source-failed");
        assert_eq!(code("relative/path".to_owned()).await, "source-failed");
        assert_eq!(code("/nowhere/at/all".to_owned()).await, "source-failed");
        assert_eq!(code("http://127.0.0.1:1/".to_owned()).await, "source-failed");
    }

    #[tokio::test]
    async fn a_bot_never_learns_the_place_of_a_source() {
        let answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_vec();
        let places = [
            format!("{}?key=SECRET", serve(answer)),
            "http://127.0.0.1:1/?key=SECRET".to_owned(),
            "http://user:SECRET@nowhere.invalid:99999/".to_owned(),
            "/nowhere/SECRET".to_owned(),
            "SECRET".to_owned(),
        ];
        let mut said = Vec::new();
        for place in places {
            let error = sources(&place).read("feed", "weather").await.unwrap_err();
            assert!(
                error.message.starts_with("the source 'weather': ") && !error.message.contains("SECRET"),
                "{error}"
            );
            said.push(error.message);
            let kept = Kept::read(&("feed".to_owned(), "weather".to_owned()), &place, None);
            assert!(kept.told.is_some_and(|told| !told.contains("SECRET")), "the log has no passwords either");
        }
        assert!(said[0].contains("the server answered 500"), "{said:?}");
    }

    /// Serves one answer, and returns the address.
    fn serve(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(&answer);
        });
        format!("http://{address}/feed")
    }

    #[tokio::test]
    async fn an_address_is_fetched_and_a_redirect_leads_nowhere() {
        let place = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsunny".to_vec());
        assert_eq!(sources(&place).read("feed", "weather").await.unwrap().text, b"sunny");
        let secret = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret".to_vec());
        let place =
            serve(format!("HTTP/1.1 302 Found\r\nLocation: {secret}\r\nContent-Length: 0\r\n\r\n").into_bytes());
        assert_eq!(sources(&place).read("feed", "weather").await.unwrap_err().code, "source-failed");
        let endless = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; SOURCE_TEXT_BYTES as usize * 2]].concat();
        assert_eq!(sources(&serve(endless)).read("feed", "weather").await.unwrap_err().code, "too-large");
    }
}
