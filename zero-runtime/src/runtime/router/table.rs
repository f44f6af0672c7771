//! [`Table`]: which value stands at a method and a path.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

/// Values by method and path.
///
/// A path may have parameters, `{name}` for one segment and `{*name}` for the rest, as axum's; a path
/// without any goes before one that has some. GET stands for HEAD, too, unless HEAD has its own.
#[derive(Clone)]
pub struct Table<T> {
    entries: Vec<Entry<T>>,
    exact: HashMap<Box<str>, usize, BuildHasherDefault<PathHasher>>,
    patterns: matchit::Router<usize>,
    /// The entry of each pattern.
    by_pattern: HashMap<Box<str>, usize>,
}

/// What stands at one path.
#[derive(Clone)]
struct Entry<T> {
    methods: Vec<(Box<str>, T)>,
    /// For `allow`: every method, HEAD with GET.
    allow: String,
}

/// A value and what its path's parameters are.
#[derive(Debug, Clone)]
pub struct Found<'t, 'p, T> {
    /// What stands there.
    pub value: &'t T,
    /// The parameters of the path.
    pub params: Params<'t, 'p>,
}

/// Why nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed<'t> {
    /// Nothing has this path: to be answered with 404.
    Path,
    /// Others have it: to be answered with 405 and this value of `allow`
    /// ([RFC 9110 §15.5.6](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6)).
    Method {
        /// The methods there are, parted by commas.
        allow: &'t str,
    },
}

/// Why a route cannot be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteError {
    /// The path does not begin with a slash.
    Relative,
    /// The method has a value at the path already.
    Taken,
    /// The path is no pattern, or collides with another.
    Pattern(matchit::InsertError),
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouteError::Relative => f.write_str("a path begins with a slash"),
            RouteError::Taken => f.write_str("the method has a route at this path already"),
            RouteError::Pattern(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RouteError {}

impl<T> Table<T> {
    /// Makes a table without routes.
    pub fn new() -> Self {
        Table {
            entries: Vec::new(),
            exact: HashMap::default(),
            patterns: matchit::Router::new(),
            by_pattern: HashMap::new(),
        }
    }

    /// Puts `value` at `method` and `path`.
    ///
    /// # Errors
    /// The path is not one, or something stands there already.
    pub fn insert(&mut self, method: &str, path: &str, value: T) -> Result<(), RouteError> {
        if !path.starts_with('/') {
            return Err(RouteError::Relative);
        }
        let at = match path.contains(['{', '}']) {
            false => match self.exact.get(path) {
                Some(&at) => at,
                None => {
                    self.exact.insert(path.into(), self.entries.len());
                    self.new_entry()
                }
            },
            true => match self.by_pattern.get(path) {
                Some(&at) => at,
                None => {
                    let inserted = self.patterns.insert(path, self.entries.len());
                    inserted.map_err(RouteError::Pattern)?;
                    self.by_pattern.insert(path.into(), self.entries.len());
                    self.new_entry()
                }
            },
        };
        self.entries[at].insert(method, value)
    }

    fn new_entry(&mut self) -> usize {
        self.entries.push(Entry {
            methods: Vec::new(),
            allow: String::new(),
        });
        self.entries.len() - 1
    }

    /// What stands at `method` and `path`, a path without its query and as it was sent.
    ///
    /// Allocates nothing for up to three parameters.
    ///
    /// # Errors
    /// Nothing does.
    #[inline]
    pub fn find<'t, 'p>(
        &'t self,
        method: &str,
        path: &'p str,
    ) -> Result<Found<'t, 'p, T>, Missed<'t>> {
        let (at, params) = match self.exact.get(path) {
            Some(&at) => (at, None),
            None => match self.patterns.at(path) {
                Ok(matched) => (*matched.value, Some(matched.params)),
                Err(_) => return Err(Missed::Path),
            },
        };
        let entry = &self.entries[at];
        match entry.find(method) {
            Some(value) => Ok(Found {
                value,
                params: Params(params),
            }),
            None => Err(Missed::Method {
                allow: &entry.allow,
            }),
        }
    }
}

impl<T> Entry<T> {
    fn insert(&mut self, method: &str, value: T) -> Result<(), RouteError> {
        if self.exact(method).is_some() {
            return Err(RouteError::Taken);
        }
        self.methods.push((method.into(), value));
        let mut names: Vec<&str> = self.methods.iter().map(|(name, _)| &**name).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        self.allow = names.join(",");
        Ok(())
    }

    fn exact(&self, method: &str) -> Option<&T> {
        let mut methods = self.methods.iter();
        methods.find_map(|(name, value)| (**name == *method).then_some(value))
    }

    #[inline]
    fn find(&self, method: &str) -> Option<&T> {
        self.exact(method)
            .or_else(|| (method == "HEAD").then(|| self.exact("GET")).flatten())
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table::new()
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.exact.keys().chain(self.by_pattern.keys());
        f.debug_set().entries(paths).finish()
    }
}

/// The parameters of a path, as they were sent: `%20` stays so.
#[derive(Debug, Clone)]
pub struct Params<'t, 'p>(Option<matchit::Params<'t, 'p>>);

impl<'p> Params<'_, 'p> {
    /// The parameter of this name.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&'p str> {
        self.0.as_ref()?.get(name)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'p str)> {
        self.0.iter().flat_map(matchit::Params::iter)
    }

    /// Copies them, to outlive the path.
    pub fn to_owned_params(&self) -> OwnedParams {
        let pairs = self.iter();
        OwnedParams(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// Parameters that outlive their path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnedParams(Vec<(Box<str>, Box<str>)>);

impl OwnedParams {
    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs.find_map(|(key, value)| (**key == *name).then_some(&**value))
    }
}

/// Hashes eight bytes at a time. Its keys are the program's own paths: nobody outside can make them
/// collide, and a path that is asked for is compared with one of them.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct PathHasher(u64);

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl PathHasher {
    #[inline]
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for PathHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last) ^ bytes.len() as u64);
    }

    #[inline]
    fn write_u8(&mut self, _end_of_str: u8) {}

    #[inline]
    fn finish(&self) -> u64 {
        // The table takes its index from the low bits, its tag from the high ones.
        self.0 ^ self.0 >> 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<u32> {
        let mut table = Table::new();
        table.insert("GET", "/", 0).unwrap();
        table.insert("GET", "/users", 1).unwrap();
        table.insert("POST", "/users", 2).unwrap();
        table.insert("GET", "/users/{id}", 3).unwrap();
        table.insert("DELETE", "/users/{id}", 4).unwrap();
        table.insert("GET", "/users/me", 5).unwrap();
        table.insert("GET", "/files/{*path}", 6).unwrap();
        table
    }

    #[test]
    fn paths_without_parameters_go_first() {
        let table = table();
        let find = |method, path| table.find(method, path).map(|found| *found.value);
        assert_eq!(find("GET", "/"), Ok(0));
        assert_eq!(find("POST", "/users"), Ok(2));
        assert_eq!(find("GET", "/users/7"), Ok(3));
        assert_eq!(find("GET", "/users/me"), Ok(5));
        assert_eq!(find("HEAD", "/users/me"), Ok(5));
        assert_eq!(find("GET", "/users/"), Err(Missed::Path));
        assert_eq!(find("GET", "/nothing"), Err(Missed::Path));
        assert_eq!(find("GET", ""), Err(Missed::Path));
        assert_eq!(find("GET", "*"), Err(Missed::Path));
        let allow = "GET,DELETE,HEAD";
        assert_eq!(find("PUT", "/users/7"), Err(Missed::Method { allow }));
    }

    #[test]
    fn parameters_are_told_by_name() {
        let table = table();
        let found = table.find("GET", "/files/a/b%20c").unwrap();
        assert_eq!(found.params.get("path"), Some("a/b%20c"));
        assert_eq!(found.params.get("other"), None);
        let owned = found.params.to_owned_params();
        assert_eq!(owned.get("path"), Some("a/b%20c"));
        assert_eq!(table.find("GET", "/").unwrap().params.iter().count(), 0);
    }

    #[test]
    fn what_cannot_be_added_says_why() {
        let mut table = table();
        assert_eq!(table.insert("GET", "users", 9), Err(RouteError::Relative));
        assert_eq!(table.insert("GET", "/users", 9), Err(RouteError::Taken));
        let collides = table.insert("GET", "/users/{name}", 9);
        assert!(
            matches!(collides, Err(RouteError::Pattern(_))),
            "{collides:?}"
        );
    }

    #[test]
    fn hashes_of_like_paths_differ() {
        let hash = |path: &str| {
            let mut hasher = PathHasher::default();
            hasher.write(path.as_bytes());
            hasher.finish()
        };
        let hashes: std::collections::HashSet<u64> =
            (0..10_000).map(|n| hash(&format!("/route/{n}"))).collect();
        assert_eq!(hashes.len(), 10_000);
        assert_ne!(hash("/a"), hash("/a\0"));
    }
}
