//! The lines of the README and of the tour, typed as they stand: only ports and paths of built programs are others.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::programs::search_path;

const README: &str = include_str!("../../README.md");
const TOUR: &str = include_str!("../../docs/tour.md");
const WORKER: &str = include_str!("../../examples/worker.py");
/// The loop at the end of the worker, above which the README puts a function.
const LOOP: &str = "for line in IN:\n";
const FUTURITY: &str = env!("CARGO_BIN_EXE_futurity");
/// The program as the pages start it, in the first terminal.
const START: &str = "cargo run --release";
/// Printed behind each block, so that its end is seen.
const END: &str = "end of the block";
/// No block of the tour takes longer.
const BLOCK_LIMIT: Duration = Duration::from_secs(150);

/// Lines to be typed, and lines that must appear then, in any order.
struct Block {
    lines: String,
    expected: Vec<String>,
}

/// A shell in a process group of its own, which ends with it.
struct Terminal {
    shell: Child,
    keyboard: ChildStdin,
    screen: Receiver<String>,
}

impl Terminal {
    fn open(directory: &Path, data_dir: &Path, listen: &str) -> Self {
        let mut shell = Command::new("bash")
            .current_dir(directory)
            .env("PATH", search_path())
            .env("FUTURITY_DATA_DIR", data_dir)
            .env("FUTURITY_LISTEN", listen)
            .env("no_proxy", "127.0.0.1")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash");
        let keyboard = shell.stdin.take().expect("a pipe");
        let output = BufReader::new(shell.stdout.take().expect("a pipe"));
        let (lines, screen) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let mut terminal = Self { shell, keyboard, screen };
        terminal.types("exec 2>&1");
        terminal
    }

    fn types(&mut self, lines: &str) {
        writeln!(self.keyboard, "{lines}").expect("a shell that reads");
    }

    /// What appears until `is_last`, that line included.
    fn shows(&self, is_last: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + BLOCK_LIMIT;
        let mut shown = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.screen.recv_timeout(left);
            assert!(line.is_ok(), "{line:?} after {shown:#?}");
            shown.extend(line);
            if shown.last().is_some_and(|line| is_last(line)) {
                return shown;
            }
        }
    }

    /// Ctrl-C; what ran must end well then, and the shell after it.
    fn interrupts(mut self) {
        self.signals(Signal::INT);
        self.types("exit $?");
        self.shows_rest();
        assert!(self.shell.wait().expect("an exit code").success(), "a clean stop");
    }

    fn shows_rest(&self) {
        let deadline = Instant::now() + BLOCK_LIMIT;
        loop {
            let line = self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            assert_ne!(line, Err(RecvTimeoutError::Timeout), "the shell does not end");
            if line.is_err() {
                return;
            }
        }
    }

    fn signals(&self, signal: Signal) {
        let group = Pid::from_child(&self.shell);
        // A group that has ended already needs no signal.
        kill_process_group(group, signal).unwrap_or_default();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.signals(Signal::KILL);
        drop(self.shell.wait());
    }
}

/// The server in the first terminal, and where it listens.
fn server(block: &Block, mut terminal: Terminal) -> (Terminal, String) {
    terminal.types(&block.lines.replace(START, FUTURITY).replace(" -- ", " "));
    let greeting = terminal.shows(|line| line.starts_with("futurity is listening on"));
    let greeting = greeting.last().expect("a greeting");
    let address = greeting.rsplit('/').next().expect("an address").to_owned();
    let expected = block.expected.iter().map(|line| line.replace("127.0.0.1:8080", &address));
    assert_eq!(expected.collect::<Vec<_>>(), [greeting.as_str()]);
    (terminal, address)
}

/// The lines of a page that are typed, and what they show. Blocks of other kinds are not typed.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut fences = page.split("```");
    while let (Some(_prose), Some(fenced)) = (fences.next(), fences.next()) {
        let (kind, lines) = fenced.split_once('\n').expect("a kind of block");
        match (kind, blocks.last_mut()) {
            ("text", Some(block)) => block.expected = lines.lines().map(str::to_owned).collect(),
            ("sh", _) => blocks.push(Block { lines: lines.to_owned(), expected: Vec::new() }),
            _ => {}
        }
    }
    blocks
}

/// The first block of a page in that language that has these words.
fn block_of<'a>(page: &'a str, kind: &str, words: &str) -> &'a str {
    let begin = format!("```{kind}\n");
    let blocks = page.split(&begin).skip(1).filter_map(|rest| rest.split_once("```"));
    let mut found = blocks.map(|(block, _)| block).filter(|block| block.contains(words));
    found.next().expect("such a block")
}

/// Whether `line` is `pattern`, in which each `…` stands for anything.
fn fits(line: &str, pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split('…').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return line == pattern };
    let mut rest = line.strip_prefix(first).and_then(|rest| rest.strip_suffix(last));
    for part in middle {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
    }
    rest.is_some()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The program that was built with this test, and ports that are free.
fn on_this_machine(text: &str, address: &str, ports: &[u16; 2]) -> String {
    // First to words, for a port or a path may hold the digits of another one.
    let words = [("9000", "<pages>"), ("9100", "<receiver>"), ("127.0.0.1:8080", "<futurity>")];
    let text = words.iter().fold(text.to_owned(), |text, (port, word)| text.replace(port, word));
    text.replace("<pages>", &ports[0].to_string())
        .replace("<receiver>", &ports[1].to_string())
        .replace("<futurity>", address)
        .replace("cargo run -q --release --", FUTURITY)
}

/// Types the lines of a page into two terminals that stand in `directory`, and looks at what they show.
fn types_the_lines_of(page: &str, directory: &Path) {
    let data = TempDir::new().expect("a directory");
    let blocks = blocks(page);
    let ports = [free_port(), free_port()];
    let terminal = |listen: &str| Terminal::open(directory, data.path(), listen);
    let (mut first, address) = server(&blocks[0], terminal("127.0.0.1:0"));
    let mut second = terminal("127.0.0.1:0");
    for block in &blocks[1..] {
        if block.lines.starts_with(START) {
            first.interrupts();
            (first, _) = server(block, terminal(&address));
            continue;
        }
        let here = |text: &str| on_this_machine(text, &address, &ports);
        // An answer may come without a line feed at its end.
        second.types(&format!("{}\nprintf '\\n%s\\n' '{END}'", here(&block.lines)));
        let shown = second.shows(|line| line == END);
        for expected in block.expected.iter().map(|line| here(line)) {
            let found = shown.iter().any(|line| fits(line, &expected));
            assert!(found, "no line {expected:?} after\n{}\nbut {shown:#?}", block.lines);
        }
    }
    first.interrupts();
}

#[test]
fn the_tour_works_as_it_stands() {
    types_the_lines_of(TOUR, Path::new(env!("CARGO_MANIFEST_DIR")));
}

/// In a directory with the worker and the settings that the README asks for.
#[test]
fn the_lines_of_the_readme_work_as_they_stand() {
    let directory = TempDir::new().expect("a directory");
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).expect("a file");
    };
    assert!(WORKER.contains(LOOP), "where the README says that it is");
    let function = format!("{}\n\n{LOOP}", block_of(README, "python", "@function"));
    write("worker.py", &WORKER.replace(LOOP, &function));
    write("futurity.toml", block_of(README, "toml", "[workers.python]"));
    types_the_lines_of(README, directory.path());
}
