//! Floors look down only: the table of ARCHITECTURE.md, "Who may import whom".

use crate::{
    paths::{Named, named},
    source::{SourceFile, Violation},
};

/// One floor and the floors it may name.
struct Floor {
    name: &'static str,
    may_name: &'static [&'static str],
    /// A floor that one file alone may name: (floor, file).
    one_file: Option<(&'static str, &'static str)>,
}

const fn floor(name: &'static str, may_name: &'static [&'static str]) -> Floor {
    Floor { name, may_name, one_file: None }
}

const FLOORS: &[Floor] = &[
    floor("domain", &[]),
    floor("store", &["domain"]),
    floor("outbound", &["domain"]),
    Floor {
        name: "runtime",
        may_name: &["domain"],
        one_file: Some(("outbound", "src/runtime/native/http_request.rs")),
    },
    floor("engine", &["domain", "store", "runtime", "outbound"]),
    floor("http", &["domain", "engine"]),
    floor("telemetry", &["config"]),
    // Each floor has a small `Config` of its own, and `config` fills them.
    floor("config", &["domain", "store", "outbound", "runtime", "engine", "http", "telemetry"]),
    floor("cli", &["domain", "engine", "config", "telemetry", "app"]),
];

/// These build and show the house, so they may name every floor.
const ROOF: &[&str] = &["app", "main", "lib"];

/// `floor`: a path may lead to the file's own floor and to those below it.
pub fn look_down_only(file: &SourceFile) -> Vec<Violation> {
    let Some(home) = home_of(file) else { return Vec::new() };
    if ROOF.contains(&home) {
        return Vec::new();
    }
    let Some(floor) = FLOORS.iter().find(|floor| floor.name == home) else {
        let text = format!(
            "`{home}` is no floor; put the file on a floor, or give it a line in \
             tests/tidy/floors.rs and in ARCHITECTURE.md"
        );
        return vec![file.violation("floor", 1, text)];
    };
    let paths = named(file);
    let bad = paths.iter().filter_map(|path| Some((path, complaint(file, floor, path)?)));
    bad.map(|(path, text)| file.violation("floor", path.line, text)).collect()
}

/// `pass-on`: `pub use crate::store` in the engine would let http name the store through it.
pub fn pass_on_no_floor(file: &SourceFile) -> Vec<Violation> {
    let Some(home) = home_of(file).filter(|home| *home != "lib") else { return Vec::new() };
    let passes_on = |path: &&Named<'_>| {
        let place = path.below_root().unwrap_or_default();
        path.public && place.len() == 1 && place[0] != home && is_floor(place[0])
    };
    let paths = named(file);
    let bad = paths.iter().filter(passes_on);
    bad.map(|path| {
        let text = format!(
            "`pub use {}` passes a whole floor on; export the one type that is meant",
            path.written()
        );
        file.violation("pass-on", path.line, text)
    })
    .collect()
}

fn complaint(file: &SourceFile, floor: &Floor, path: &Named<'_>) -> Option<String> {
    let place = path.below_root()?;
    let written = path.written();
    let Some(target) = place.first() else {
        let names_root = path.import || path.glob;
        return names_root
            .then(|| format!("`{written}` imports the crate's root; name the item and its floor"));
    };
    let one_file = floor.one_file == Some((target, &file.path));
    if *target == floor.name || floor.may_name.contains(target) || one_file {
        return None;
    }
    let below = match floor.may_name {
        [] => "nothing of ours".to_owned(),
        names => names.join(", "),
    };
    Some(if is_floor(target) {
        format!(
            "`{written}`: {} may not name {target} (it may name: {below}); pass the value in as \
             an argument, or move the code up",
            floor.name
        )
    } else {
        format!(
            "`{written}` is a public name of the crate; name the floor that `{target}` lives on"
        )
    })
}

fn home_of(file: &SourceFile) -> Option<&str> {
    let inside = file.path.strip_prefix("src/")?;
    inside.split('/').next().map(|part| part.strip_suffix(".rs").unwrap_or(part))
}

fn is_floor(name: &str) -> bool {
    ROOF.contains(&name) || FLOORS.iter().any(|floor| floor.name == name)
}
