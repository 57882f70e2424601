#!/usr/bin/env bash
# Four crates that read RFC 3339, and five moments. A leap second (":60") is for jiff 1.0.1 and humantime 2.2.0 the second before, so
# that two moments a second apart are equal; chrono 0.4.41 shows it as :60 and gives the Unix time of :59; time 0.3.41 makes it
# :59.999999999. In the middle of a day, where there never was one, time refuses it and the others do not. jiff takes an offset of
# +25:59, which the others refuse, and refuses 9999-12-31T23:59:59Z, the "never" of many systems, which the others take.
#
# Seen with rustc 1.95.0; the last lines of this file are the output.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"; mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "look"
version = "0.1.0"
edition = "2021"

[dependencies]
jiff = { version = "=1.0.1", default-features = false, features = ["std"] }
chrono = { version = "=0.4.41", default-features = false, features = ["std"] }
time = { version = "=0.3.41", features = ["parsing", "formatting"] }
humantime = "=2.2.0"
TOML
cat > src/main.rs <<'RS'
use time::format_description::well_known::Rfc3339;

fn main() {
    let moments = [
        "2016-12-31T23:59:60Z", "2016-12-31T23:59:61Z", "2016-12-31T12:00:60Z", "2016-12-31T23:59:59+25:59", "9999-12-31T23:59:59Z",
    ];
    for text in moments {
        let jiff = text.parse::<jiff::Timestamp>().map_or("refused".into(), |at| at.to_string());
        let chrono = chrono::DateTime::parse_from_rfc3339(text)
            .map_or("refused".into(), |at| format!("{} ({})", at.to_rfc3339(), at.timestamp()));
        let time = time::OffsetDateTime::parse(text, &Rfc3339).map_or("refused".into(), |at| at.to_string());
        let humantime = humantime::parse_rfc3339(text)
            .map_or("refused".into(), |at| humantime::format_rfc3339(at).to_string());
        println!("{text}: jiff {jiff} | chrono {chrono} | time {time} | humantime {humantime}");
    }
}
RS
cargo run --quiet | tee seen
diff - seen <<'SEEN'
2016-12-31T23:59:60Z: jiff 2016-12-31T23:59:59Z | chrono 2016-12-31T23:59:60+00:00 (1483228799) | time 2016-12-31 23:59:59.999999999 +00:00:00 | humantime 2016-12-31T23:59:59Z
2016-12-31T23:59:61Z: jiff refused | chrono refused | time refused | humantime refused
2016-12-31T12:00:60Z: jiff 2016-12-31T12:00:59Z | chrono 2016-12-31T12:00:60+00:00 (1483185659) | time refused | humantime 2016-12-31T12:00:59Z
2016-12-31T23:59:59+25:59: jiff 2016-12-30T22:00:59Z | chrono refused | time refused | humantime refused
9999-12-31T23:59:59Z: jiff refused | chrono 9999-12-31T23:59:59+00:00 (253402300799) | time 9999-12-31 23:59:59.0 +00:00:00 | humantime 9999-12-31T23:59:59Z
SEEN
