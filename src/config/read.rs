//! From a file, a text or a command line to a [`Config`].

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::node::{Entry, Kind, Node};
use super::read_forwarded::forwarded_headers;
use super::read_limits::limits;
use super::read_listener::{access_log, admin, listeners, trusted_proxies};
use super::read_pool::pools;
use super::read_route::routes;
use super::read_server::server;
use super::reader::{Sink, Value};
use super::yaml::{self, MAX_BYTES, position_of};
use super::{Config, ConfigError, Mistake, Position};

impl Config {
    /// Read a configuration from the file at `path`. Relative paths in it start from its folder.
    ///
    /// # Errors
    /// Every mistake in the file, or why it cannot be read.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = read(path).map_err(|mistake| ConfigError::new(Some(path), vec![mistake]))?;
        Config::parse(&text, Some(path))
    }

    /// Read a configuration from `text`. `file` is what messages call it, and relative paths start from its folder.
    ///
    /// # Errors
    /// Every mistake in the text.
    pub fn parse(text: &str, file: Option<&Path>) -> Result<Config, ConfigError> {
        Config::of_tree(yaml::parse(text), file)
    }

    /// Read a configuration from `text`, which need not say what stands in `usual`: keys at the top that `text` has not are
    /// those of `usual`. `file` is what messages call it.
    ///
    /// # Errors
    /// Every mistake in the text.
    pub(crate) fn parse_over(usual: &str, text: &str, file: &Path) -> Result<Config, ConfigError> {
        let ((mut top, mistakes), (usual, _)) = (yaml::parse(text), yaml::parse(usual));
        if let (Some(Node { kind: Kind::Map(said), .. }), Some(Node { kind: Kind::Map(usual), .. })) = (&mut top, usual)
        {
            let missing = usual.into_iter().filter(|usual| !said.iter().any(|said| said.key == usual.key));
            let missing: Vec<Entry> = missing.collect();
            said.extend(missing);
        }
        Config::of_tree((top, mistakes), Some(file))
    }

    fn of_tree((top, mut mistakes): (Option<Node>, Vec<Mistake>), file: Option<&Path>) -> Result<Config, ConfigError> {
        let sink = Sink::new(file);
        let config = top.and_then(|top| config(&top, file, &sink));
        mistakes.append(&mut sink.into_mistakes());
        finish(config, file, mistakes)
    }

    /// What `--listen` and `--to` ask for: one listener, one pool named `default`, defaults for the rest.
    ///
    /// # Errors
    /// Every mistake in the two, under the names of their options.
    pub fn quick(listen: &str, to: &[String]) -> Result<Config, ConfigError> {
        let scalar = |text: &str| of(Kind::Scalar { text: text.to_owned(), plain: true });
        let backends = to.iter().flat_map(|list| list.split(',')).map(|text| scalar(text.trim())).collect();
        let pool = map("backends", of(Kind::List(backends)));
        let mut top = vec![entry("listeners", of(Kind::List(vec![map("address", scalar(listen))])))];
        top.push(entry("pools", map("default", pool)));
        let sink = Sink::new(None);
        let config = config(&of(Kind::Map(top)), None, &sink);
        let mut mistakes = sink.into_mistakes();
        for mistake in &mut mistakes {
            mistake.key = match mistake.key.split('.').next() {
                Some("pools") => "--to".to_owned(),
                _ => "--listen".to_owned(),
            };
        }
        finish(config, None, mistakes)
    }
}

fn finish(config: Option<Config>, file: Option<&Path>, mistakes: Vec<Mistake>) -> Result<Config, ConfigError> {
    match config {
        Some(config) if mistakes.is_empty() => Ok(config),
        config => Err(ConfigError::new(file, mistakes).having_read(config)),
    }
}

/// Walk the tree; `None` only if it is no map. Valid if `sink` stays empty.
pub(super) fn config(top: &Node, file: Option<&Path>, sink: &Sink) -> Option<Config> {
    let mut map = Value::top(top, sink).map()?;
    map.read("version", 1, |version| match version.scalar() {
        Some("1") => Some(1),
        _ => {
            version.must_be("1");
            None
        }
    });
    let listeners = listeners(&mut map);
    let trusted_proxies = trusted_proxies(&mut map);
    let forwarded_headers = forwarded_headers(&mut map);
    let normalize_path = map.read("normalize_path", true, Value::boolean);
    let limits = limits(&mut map);
    let filters = map.get("filters").map(|v| v.filters()).unwrap_or_default();
    let pools = pools(&mut map);
    let routes = routes(&mut map, &pools, normalize_path);
    let access_log = access_log(&mut map);
    let admin = admin(&mut map, &listeners);
    let watch = map.read("watch", false, Value::boolean);
    let off_or = |value: &Value<'_>| if value.is_off() { Some(Duration::ZERO) } else { value.duration() };
    let stop_delay = map.read("stop_delay", Duration::ZERO, off_or);
    let upgrade_timeout = map.read("upgrade_timeout", Config::UPGRADE_TIMEOUT, Value::duration);
    let ours = map.allowed();
    let server = server(&mut map);
    map.done_with(&format!("; allowed here: {ours}, and Pingora's own, which conf/full.yaml lists"));
    Some(Config {
        file: file.map(Path::to_path_buf),
        server,
        stop_delay,
        upgrade_timeout,
        listeners,
        trusted_proxies,
        forwarded_headers,
        normalize_path,
        limits,
        filters,
        pools: pools.into_iter().filter_map(|(_, pool)| pool).collect(),
        routes,
        access_log,
        watch,
        admin,
    })
}

/// The text of a file.
fn read(path: &Path) -> Result<String, Mistake> {
    let whole = |message: String| Mistake::new(Position::default(), "", message);
    let unreadable = |e: io::Error| {
        whole(match e.kind() {
            io::ErrorKind::NotFound => "no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
            io::ErrorKind::IsADirectory => "is a directory, not a file".to_owned(),
            _ => format!("cannot be read: {e}"),
        })
    };
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large, and a device that never ends, too.
    let limit = MAX_BYTES + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(whole(yaml::too_large()));
    }
    String::from_utf8(bytes).map_err(|e| {
        let valid = e.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&e.as_bytes()[..valid]).into_owned();
        Mistake::new(position_of(&text, valid), "", "is not UTF-8 text")
    })
}

fn of(kind: Kind) -> Node {
    let at = Position::default();
    Node { at, kind }
}

fn entry(key: &str, value: Node) -> Entry {
    let at = Position::default();
    Entry { key: key.to_owned(), at, value }
}

fn map(key: &str, value: Node) -> Node {
    of(Kind::Map(vec![entry(key, value)]))
}
