//! Parses hub ids: `owner/name`, with a revision, or the address of a page.

/// The hub's default address; HF_ENDPOINT changes it.
pub const ENDPOINT: &str = "https://huggingface.co";

/// What a hub id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    Model,
    Dataset,
}

impl RepoKind {
    /// The first part of folder names in the cache.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

/// T5 and RoBERTa models from before names had owners; the hub redirects their old names.
const WITHOUT_OWNER: [&str; 8] =
    ["t5-small", "t5-base", "t5-large", "t5-3b", "t5-11b", "roberta-base", "roberta-large", "distilroberta-base"];

/// A parsed hub id.
pub struct HubId {
    pub source: String,
    pub name: String,
    pub revision: String,
    pub kind: RepoKind,
}

impl HubId {
    /// Parses `owner/name` or `owner/name@revision`, or the address of a page of the hub (at `endpoint` or the default one).
    pub fn parse(source: &str, kind: RepoKind, endpoint: Option<&str>) -> Option<Self> {
        let text = source.trim();
        let pasted = pasted(text, kind, endpoint);
        let (name, revision) = match &pasted {
            Some((name, revision)) => (name.as_str(), revision.as_str()),
            None => text.trim_end_matches('/').split_once('@').unwrap_or((text.trim_end_matches('/'), "main")),
        };
        let part_ok = |part: &str| {
            let chars_ok = part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            chars_ok && !part.is_empty() && !part.starts_with(['.', '-'])
        };
        let name_ok = match name.split_once('/') {
            Some((owner, repo)) => part_ok(owner) && part_ok(repo),
            None => kind == RepoKind::Model && WITHOUT_OWNER.contains(&name),
        };
        let revision_ok = crate::io::is_safe_name(revision) && !revision.contains(char::is_whitespace);
        (name_ok && revision_ok).then(|| Self {
            source: text.to_string(),
            name: name.to_string(),
            revision: revision.to_string(),
            kind,
        })
    }

    /// The first part of the addresses of its files.
    pub fn path(&self) -> String {
        match self.kind {
            RepoKind::Model => self.name.clone(),
            RepoKind::Dataset => format!("datasets/{}", self.name),
        }
    }

    /// Its folder in the cache.
    pub fn folder(&self) -> String {
        format!("{}--{}", self.kind.folder(), self.name.replace('/', "--"))
    }
}

/// Name and revision from the address of a repository's page or of a file in it, also with `hf://`; none for other texts.
fn pasted(text: &str, kind: RepoKind, endpoint: Option<&str>) -> Option<(String, String)> {
    let hosts = [endpoint.unwrap_or(ENDPOINT), ENDPOINT, "https://www.huggingface.co", "https://hf.co"];
    let rest = hosts.iter().find_map(|host| {
        let bare = host.split_once("://").map_or(*host, |(_, bare)| bare);
        let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        text.strip_prefix(bare)?.strip_prefix('/')
    });
    let rest = rest.or_else(|| text.strip_prefix("hf://"))?;
    let rest = rest.split(['?', '#']).next()?.trim_end_matches('/');
    let rest = match (kind, rest.strip_prefix("datasets/")) {
        (RepoKind::Dataset, Some(rest)) => rest,
        (RepoKind::Model, None) => rest.strip_prefix("models/").unwrap_or(rest),
        _ => return None,
    };
    let mut parts = rest.split('/');
    let name = format!("{}/{}", parts.next()?, parts.next()?);
    let (name, at) = name.split_once('@').unwrap_or((&name, "main"));
    let revision = match (parts.next(), parts.next()) {
        (Some("tree" | "blob" | "resolve" | "commit"), Some(revision)) => revision.replace("%2F", "/"),
        (None, _) => at.to_string(),
        _ => return None,
    };
    Some((name.to_string(), revision))
}
