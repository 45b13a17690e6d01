//! What bots may read from outside: the files and HTTP addresses that the admin has named for them.
//!
//! A bot asks for a source by the admin's name for it and never learns or chooses the place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use crate::api::{ApiError, SourceText};

use super::{BotConfig, lock, nearest};

/// Longest text of a source, in bytes; a longer one is refused, not cut.
const SOURCE_TEXT_BYTES: u64 = 256 << 10;
/// What was read stays good for so long: a bot that asks in a loop asks nobody.
const FRESH: Duration = Duration::from_secs(5);
/// How long a server may take in all.
const HTTP_TIME: Duration = Duration::from_secs(15);

/// What one read came to, and when.
type Kept = (Instant, Result<SourceText, ApiError>);

/// The sources of all bots.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// By the bot's name and the source's.
    places: BTreeMap<(String, String), String>,
    /// The last reads. A lock for each source: of several that ask at once one reads.
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

    /// Reads a source. Waits for the disk or the network on a thread made for that.
    ///
    /// # Errors
    /// `unknown-source`; `source-failed` where it can't be read at the moment; `too-large`.
    pub(crate) async fn read(&self, bot: &str, name: &str) -> Result<SourceText, ApiError> {
        let key = (bot.to_owned(), name.to_owned());
        let (Some(place), Some(kept)) = (self.places.get(&key), self.kept.get(&key)) else {
            return Err(self.unknown(bot, name));
        };
        let (place, kept) = (place.clone(), Arc::clone(kept));
        let read = move || {
            let mut kept = lock(&kept);
            match &*kept {
                Some((at, result)) if at.elapsed() < FRESH => result.clone(),
                _ => {
                    let result = read(&place);
                    *kept = Some((Instant::now(), result.clone()));
                    result
                }
            }
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

fn failed(place: &str, why: impl std::fmt::Display) -> ApiError {
    ApiError::new("source-failed", format!("{place}: {why}"))
}

fn too_large() -> ApiError {
    ApiError::new("too-large", format!("the source has more than {} KiB", SOURCE_TEXT_BYTES >> 10))
}

fn read(place: &str) -> Result<SourceText, ApiError> {
    if place.starts_with("http://") || place.starts_with("https://") { fetch(place) } else { file(place) }
}

fn file(place: &str) -> Result<SourceText, ApiError> {
    let path = Path::new(place);
    if !path.is_absolute() {
        return Err(failed(place, "the place of a source is an absolute path or an http(s) address"));
    }
    let told = |error: std::io::Error| failed(place, error);
    // Looked at before it is opened: opening a pipe would wait for its other end.
    let meta = std::fs::metadata(path).map_err(told)?;
    if !meta.is_file() {
        return Err(failed(place, "it is no file"));
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
fn fetch(place: &str) -> Result<SourceText, ApiError> {
    let config = ureq::Agent::config_builder().timeout_global(Some(HTTP_TIME)).max_redirects(0);
    let agent: ureq::Agent = config.user_agent(concat!("qpq/", env!("CARGO_PKG_VERSION"))).build().into();
    let answer = agent.get(place).call().map_err(|error| failed(place, error))?;
    if !answer.status().is_success() {
        return Err(failed(place, format!("the server answered {}", answer.status())));
    }
    let text = answer.into_body().with_config().limit(SOURCE_TEXT_BYTES).read_to_vec();
    match text {
        Ok(text) => Ok(SourceText { text, changed_ms: None }),
        Err(ureq::Error::BodyExceedsLimit(_)) => Err(too_large()),
        Err(error) => Err(failed(place, error)),
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
