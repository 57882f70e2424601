//! What the rules look at: a file with its tokens, and what they find: a violation.

use std::{fmt, fs, path::Path};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// One Rust file. Tokens are flat: groups stand between their brackets, `::` is one token,
/// comments are gone, and documentation is an attribute with a string.
#[derive(Debug)]
pub struct SourceFile {
    /// From the repository's root, with `/`: `src/store/writer.rs`.
    pub path: String,
    pub text: String,
    pub tokens: Vec<Token>,
    /// False if the file is not made of Rust tokens; the rule `unread` reports it.
    pub readable: bool,
}

#[derive(Debug)]
pub struct Token {
    pub text: String,
    pub line: usize,
    /// True for names and keywords, false for marks, brackets and literals.
    pub word: bool,
}

impl SourceFile {
    pub fn new(path: &str, text: &str) -> Self {
        let stream = text.parse::<TokenStream>();
        let readable = stream.is_ok();
        let mut tokens = Vec::new();
        flatten(stream.unwrap_or_default(), &mut tokens);
        Self { path: path.to_owned(), text: text.to_owned(), tokens, readable }
    }

    /// The token's text, or nothing beyond the end. A string keeps its quotes, so it equals no word.
    pub fn code(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    /// Where these tokens stand in a row.
    pub fn find<'a>(&'a self, row: &'a [&'a str]) -> impl Iterator<Item = usize> + 'a {
        let matches = move |i: usize| row.iter().enumerate().all(|(n, t)| self.code(i + n) == *t);
        (0..self.tokens.len()).filter(move |i| matches(*i))
    }

    pub fn in_src(&self) -> bool {
        self.path.starts_with("src/")
    }

    /// The file's name without folder and ending.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.strip_suffix(".rs").unwrap_or(name)
    }

    /// `src/store/writer.rs` is `[store, writer]`; a crate's root is empty.
    pub fn module(&self) -> Vec<&str> {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let mut parts: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
        if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
            parts.pop();
        }
        parts
    }

    pub fn violation(&self, rule: &'static str, line: usize, text: impl Into<String>) -> Violation {
        Violation::new(rule, &self.path, line, text)
    }
}

/// A broken rule: where, which, and how to mend it.
#[derive(Debug)]
pub struct Violation {
    pub rule: &'static str,
    pub file: String,
    pub line: usize,
    pub text: String,
    /// What counts against an exception's allowance: 1, or the lines of a file.
    pub weight: usize,
}

impl Violation {
    pub fn new(rule: &'static str, file: &str, line: usize, text: impl Into<String>) -> Self {
        Self { rule, file: file.to_owned(), line, text: text.into(), weight: 1 }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.file, self.line, self.rule, self.text)
    }
}

/// All Rust files of `src` and `tests`, in the order of their names.
pub fn read_tree() -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        read_folder(root, &root.join(folder), &mut files);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn read_folder(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            read_folder(root, &path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("the file is UTF-8");
            let name = path.strip_prefix(root).expect("the file is in the tree");
            files.push(SourceFile::new(&name.to_string_lossy().replace('\\', "/"), &text));
        }
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut half_colon = false;
    for tree in stream {
        let line = tree.span().start().line;
        let second_half = std::mem::take(&mut half_colon);
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                let end = group.span_close().end().line;
                tokens.push(Token { text: open.to_owned(), line, word: false });
                flatten(group.stream(), tokens);
                tokens.push(Token { text: close.to_owned(), line: end, word: false });
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' && second_half => {
                tokens.last_mut().expect("the first colon").text.push(':');
            }
            TokenTree::Punct(mark) => {
                half_colon = mark.as_char() == ':' && mark.spacing() == Spacing::Joint;
                tokens.push(Token { text: mark.to_string(), line, word: false });
            }
            TokenTree::Ident(word) => {
                let text = word.to_string();
                let plain = text.strip_prefix("r#").unwrap_or(&text).to_owned();
                tokens.push(Token { text: plain, line, word: true });
            }
            TokenTree::Literal(text) => {
                tokens.push(Token { text: text.to_string(), line, word: false });
            }
        }
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}
