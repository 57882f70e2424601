//! Every path that a file names: in imports, types, patterns, expressions and macro input alike.

use crate::source::SourceFile;

/// One named path. A nested import gives one for each leaf.
#[derive(Debug)]
pub struct Named<'a> {
    /// As written, from its first word: `[crate, store, get]`.
    pub words: Vec<&'a str>,
    /// The module that the words stand in, inline modules included.
    pub module: Vec<&'a str>,
    pub line: usize,
    /// True in `use` and `extern crate`.
    pub import: bool,
    /// True for `pub use`, with any restriction.
    pub public: bool,
    /// True if the path ends in `*`.
    pub glob: bool,
    /// Index of the path's first token, and of the token after it.
    pub start: usize,
    pub end: usize,
}

impl<'a> Named<'a> {
    /// The path below our own root (`crate` and `futurity` name the same place), or none if it
    /// starts with an outside crate or a name in scope.
    pub fn below_root(&self) -> Option<Vec<&'a str>> {
        let (first, rest) = self.words.split_first()?;
        let mut place = match *first {
            "crate" | "futurity" => Vec::new(),
            "self" | "super" => self.module.clone(),
            _ => return None,
        };
        let climbs = usize::from(*first == "super");
        let more = rest.iter().take_while(|word| **word == "super").count();
        place.truncate(place.len().saturating_sub(climbs + more));
        place.extend(&rest[more..]);
        Some(place)
    }

    /// The outside crate that the path may start with, in the path's own words.
    pub fn outside(&self) -> Option<&[&'a str]> {
        let ours = matches!(*self.words.first()?, "crate" | "futurity" | "self" | "super" | "Self");
        let path = self.import || self.words.len() > 1;
        (!ours && path).then_some(&self.words)
    }

    pub fn written(&self) -> String {
        self.words.join("::") + if self.glob { "::*" } else { "" }
    }
}

/// Reads the file once, from top to bottom.
pub fn named(file: &SourceFile) -> Vec<Named<'_>> {
    let mut reader = Reader { file, found: Vec::new(), inner: Vec::new(), depth: 0 };
    let mut at = 0;
    while at < file.tokens.len() {
        at = reader.step(at);
    }
    reader.found
}

struct Reader<'a> {
    file: &'a SourceFile,
    found: Vec<Named<'a>>,
    /// Inline modules that are open, each with the depth of its braces.
    inner: Vec<(&'a str, usize)>,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Looks at one token, and gives the place to go on from.
    fn step(&mut self, at: usize) -> usize {
        match self.file.code(at) {
            "{" => self.depth += 1,
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                self.inner.retain(|(_, depth)| *depth < self.depth);
            }
            "mod" if self.file.code(at + 2) == "{" => {
                self.inner.push((self.file.code(at + 1), self.depth));
                return at + 2;
            }
            "use" => {
                let public = self.is_public(at);
                return self.import(at + 1, &[], public);
            }
            "extern" if self.file.code(at + 1) == "crate" => {
                return self.import(at + 2, &[], false);
            }
            _ if self.is_name(at) && !self.is_member(at) => return self.path(at),
            _ => {}
        }
        at + 1
    }

    /// A path outside an import. Generics end it; what they hold is read next.
    fn path(&mut self, start: usize) -> usize {
        let mut words = vec![self.file.code(start)];
        let mut at = start + 1;
        while self.file.code(at) == "::" && self.is_word(at + 1) {
            words.push(self.file.code(at + 1));
            at += 2;
        }
        if self.file.code(at) == "::" && matches!(self.file.code(at + 1), "{" | "*") {
            return self.import(at + 1, &words, false);
        }
        self.push(words, (start, at), (false, false, false));
        at
    }

    /// One branch of an import tree, ended by `,`, `}` or `;`.
    fn import(&mut self, start: usize, prefix: &[&'a str], public: bool) -> usize {
        let mut words = prefix.to_vec();
        let mut at = start;
        loop {
            match self.file.code(at) {
                "{" => return self.import_list(at + 1, &words, public),
                "*" => {
                    self.push(words, (start, at + 1), (true, public, true));
                    return at + 1;
                }
                "::" | "$" => at += 1,
                // `use store::{self}` names the store itself.
                "self" if !words.is_empty() => at += 1,
                word if self.is_word(at) && word != "as" => {
                    words.push(word);
                    at += 1;
                }
                _ => break,
            }
        }
        if !words.is_empty() {
            self.push(words, (start, at), (true, public, false));
        }
        if self.file.code(at) == "as" { at + 2 } else { at.max(start + 1) }
    }

    fn import_list(&mut self, start: usize, prefix: &[&'a str], public: bool) -> usize {
        let mut at = start;
        while at < self.file.tokens.len() && self.file.code(at) != "}" {
            at = if self.file.code(at) == "," { at + 1 } else { self.import(at, prefix, public) };
        }
        at + 1
    }

    fn push(&mut self, words: Vec<&'a str>, span: (usize, usize), flags: (bool, bool, bool)) {
        let (import, public, glob) = flags;
        let (start, end) = span;
        let line = self.file.tokens[start.min(self.file.tokens.len() - 1)].line;
        let mut module = if self.file.in_src() { self.file.module() } else { Vec::new() };
        module.extend(self.inner.iter().map(|(name, _)| *name));
        self.found.push(Named { words, module, line, import, public, glob, start, end });
    }

    fn is_public(&self, at: usize) -> bool {
        let before = |back: usize| at.checked_sub(back).map_or("", |i| self.file.code(i));
        // `pub use`, `pub(crate) use`, `pub(in crate::engine) use`.
        before(1) == "pub" || (before(1) == ")" && (2..10).any(|back| before(back) == "pub"))
    }

    fn is_word(&self, at: usize) -> bool {
        self.file.tokens.get(at).is_some_and(|token| token.word)
    }

    fn is_name(&self, at: usize) -> bool {
        self.is_word(at) && !KEYWORDS.contains(&self.file.code(at))
    }

    /// True after a single dot: a field or a method. `..crate::X` is a path.
    fn is_member(&self, at: usize) -> bool {
        let before = |back: usize| at.checked_sub(back).map_or("", |i| self.file.code(i));
        before(1) == "." && before(2) != "."
    }
}

/// The words that cannot start a path.
const KEYWORDS: &[&str] = &[
    "as", "async", "await", "break", "const", "continue", "dyn", "else", "enum", "extern", "fn",
    "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref",
    "return", "static", "struct", "trait", "type", "unsafe", "use", "where", "while", "yield",
];
