"""Breaks the server on purpose, one promise at a time, and looks whether the tests notice.

    python3 tests/mutants.py [--only NAME] [--list]

Each mutant changes a few lines in a copy of the tree under target/mutants, which is built there, and the tests that
must fail are run; of the test programs only those are built that have such tests. Ends with 1 if a mutant lives, cannot
be built, has no tests, or if its lines are not where they were. With `--list` only the lines are checked.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLACE = ROOT / "target" / "mutants"

MUTANTS = {
    "the answer comes before the commit": (
        "test(heavy_g1_no_202_leaves_before)",
        [("src/store/sqlite/write.rs", "        self.effect = Some(effect);\n",
          "        match self.sender.take() {\n"
          "            Some(sender) => drop(sender.send(effect.map_err(Error::Refused))),\n"
          "            None => self.effect = Some(effect),\n"
          "        }\n")]),
    "synchronous is normal": (
        "test(heavy_g1_no_202_leaves_before)",
        [("src/store/sqlite/connection.rs", 'Synchronous::Full => "full",', 'Synchronous::Full => "normal",'),
         ("src/store/sqlite/connection.rs", "Synchronous::Full => 2,", "Synchronous::Full => 1,")]),
    "an attempt that is over may settle": (
        "test(/conformance/)",
        [("src/store/sqlite/jobs/complete.rs", "running.filter(|running| running.attempt == self.job.attempt)", "running.filter(|_| true)")]),
    "a job that has ended stays among the unfinished": (
        "test(/conformance/)",
        [("src/store/sqlite/jobs/end.rs", "            if is_unfinished {\n                is_finished(txn, next.ordinal)?;\n            }\n", "")]),
    "no delivery is written with the end": (
        "test(/conformance::callbacks|it callbacks::/)",
        [("src/store/sqlite/jobs/complete.rs", "        if running.may_have_callbacks {\n            due::make_due(txn, &mut next)?;\n        }\n", "")]),
    "any Host is taken": (
        "test(a_host_that_is_none_of_the_servers_names)",
        [("src/http/admit.rs", "        self.check_host(request)?;\n", "        drop(self.check_host(request));\n")]),
    "a server outlives whoever started it": (
        "test(g21_a_server_stops_when_whoever_started_it)",
        [("src/app/signals.rs", "            () = ended(&mut self.input) => Asked::InputClosed,\n",
          "            () = ended(&mut self.input), if false => Asked::InputClosed,\n")]),
    "a closed input ends the grace": (
        "test(g21_a_closed_standard_input_hurries)",
        [("src/app/signals.rs", "    pub(super) async fn stop(&mut self) {\n        tokio::select! {\n",
          "    pub(super) async fn stop(&mut self) {\n        tokio::select! {\n            () = ended(&mut self.input) => {}\n")]),
    "whoever comes is told what the server is": (
        "test(/server_info|every_operation_asks_for_its_scope/)",
        [("src/http/admit.rs", "        return Some(Need::AnyKey);\n", "        return None;\n")]),
    "submit alone calls whatever there is": (
        "test(/function_scopes::/)",
        [("src/engine/request.rs", "            Some(scope) if !asker.may_call(scope) =>", "            Some(scope) if !asker.may_call(scope) && scope.as_str().is_empty() =>")]),
    "calls of a batch need no scope": (
        "test(/function_scopes::/)",
        [("src/engine/batches.rs", "        Self::check_asker(&function, &new.asker)?;\n", ""),
         ("src/engine/batches.rs", "        Self::check_asker(function, &new.asker)?;\n", "")]),
    "an open stream forgets whom it missed": (
        "test(/whoever_is_too_far_behind/)",
        [("src/engine/waiters/tags.rs", "!concerns(follower) || follower.heard.try_send(heard).is_ok()",
          "!concerns(follower) || follower.heard.try_send(heard).is_ok() || true")]),
    "an open stream passes by what was cancelled with others": (
        "test(/open_completions::/)",
        [("src/engine/waiters.rs", "        self.tell_all_tags(ended);\n", "")]),
    "an open stream goes on from now and not from its place": (
        "test(/open_completions::/)",
        [("src/engine/open_completions.rs", "to: after.unwrap_or(known.head),", "to: after.map_or(known.head, |_| known.head),")]),
    "letters end lines": (
        "test(/nothing_in_a_line_or_an_event|nothing_that_ends_a_line/)",
        [("src/http/lines.rs", "matches!(letter, '\\u{85}' | '\\u{2028}' | '\\u{2029}')", "matches!(letter, '\\u{85}' | '\\u{2029}')")]),
    "whoever comes back after the end is served again": (
        "test(/results_come_as_events|job_events::/)",
        [("src/http/last_event_id.rs", "Ok(if is_over { Resumed::Over }", "Ok(if is_over && FOR_GOOD.is_empty() { Resumed::Over }")]),
    "lines that are lost are not missed": (
        "test(lines_that_were_lost)",
        [("src/http/line_reader.rs", "let told = self.told.filter(|told| *told != came)?;", "let told = self.told.filter(|told| *told < came)?;")]),
    "a place comes only with a change": (
        "test(whoever_follows_all_changes_is_told_its_place)",
        [("src/http/events.rs", "Some(format!(\"{RETRY}{}\", alive(following.seq())).into())", "Some(Bytes::from_static(RETRY.as_bytes()))")]),
    "a process that makes way is a loss": (
        "test(e21_a_process_that_asks)",
        [("src/runtime/worker/supervisor.rs", "Gone::Retires => Over::Served,", "Gone::Retires => Over::Lost(String::new()),")]),
    "an early answer is lost": (
        "test(an_early_answer_arrives)",
        [("src/http/serve.rs", "    if ended.is_ok() && phase.has_unread() {", "    if ended.is_err() && phase.has_unread() {")]),
    "who goes in the middle of its body is still there": (
        "test(e7_who_closes_in_the_middle)",
        [("src/http/map.rs", "Err(_problem) if self.reader.is_cut() =>", "Err(_problem) if self.reader.is_cut() && self.index < 0 =>")]),
    "a queue goes though it had a job just now": (
        "test(a_queue_that_expires_goes_when_it_was_empty)",
        [("src/store/sqlite/slots/queues.rs", "if std::mem::take(&mut queue.is_used) {", "if std::mem::take(&mut queue.is_used) && expires_ms < 0 {")]),
    "whoever submits makes any queue": (
        "test(whoever_submits_makes_a_queue)",
        [("src/http/admit.rs", "if name.starts_with(OWN_PREFIX) => Scope::Submit,", "if !name.starts_with('/') => Scope::Submit,")]),
    "any key may do everything": (
        "test(every_operation_asks_for_its_scope)",
        [("src/engine/keys/door.rs", "Some(key) if key.allows(needed) =>", "Some(key) if key.allows(needed) || true =>")]),
    "an expired key holds": (
        "test(/scopes|a_key_holds_until/)",
        [("src/engine/keys.rs", "self.expires_at_ms.is_some_and(|at| at <= now.0)", "self.expires_at_ms.is_some_and(|at| at < 0 && at <= now.0)")]),
    "a server without a file of keys is open": (
        "test(/without_its_file_of_keys|what_is_not_there_opens_nothing/)",
        [("src/engine/keys.rs", "(true, false) => Standing::Locked,", "(true, false) => Standing::Open,")]),
    "the last key that is revoked opens the server": (
        "test(/without_its_last_key|only_a_word_opens/)",
        [("src/engine/keys.rs", "            table.keys.retain(|key| key.id != id);\n",
          "            table.keys.retain(|key| key.id != id);\n            table.open = table.keys.is_empty();\n")]),
    "a server behind a proxy starts without a key": (
        "test(/behind_a_proxy|through_a_proxy/)",
        [("src/config/reached.rs", "self.listen.ip().is_loopback() && self.hosts.is_empty()", "self.listen.ip().is_loopback()")]),
    "anybody says for whom it asks": (
        "test(/only_a_proxy_that_is_trusted/)",
        [("src/http/proxies.rs", "        if !self.trusts(peer.ip()) {\n            return None;\n        }\n", "")]),
    "a link leads past the prefix": (
        "test(/under_a_path_every_address/)",
        [("src/http/list.rs", "format!(\"<{}{path}?{}>; rel=\\\"next\\\"\", prefix(), next.finish())", "format!(\"<{path}?{}>; rel=\\\"next\\\"\", next.finish())")]),
    "an empty list of ids beside filters cancels nothing": (
        "test(/empty_ids_beside_filters/)",
        [("src/http/cancel_many.rs", "(Some(ids), true) if ids.is_empty() => CancelFilter::Matching(filter),", "(Some(ids), true) if ids.is_empty() => CancelFilter::Jobs(ids),")]),
    "a stream outlasts its key": (
        "test(/leaves::/)",
        [("src/http/leave.rs", "        answer.map(|body| as_long_as(leave, body))", "        drop(leave);\n        answer")]),
    "a wait outlasts its key": (
        "test(/leaves::/)",
        [("src/http/leave.rs", "            () = self.leave(desk).ended() => return self.too_late(call).await,\n", "")]),
    "what still comes in is taken after its key": (
        "test(/leaves::/)",
        [("src/http/leave.rs", "self.needed.only_reads() || self.still_comes.load(Ordering::Relaxed)", "self.needed.only_reads()")]),
    "a key that allows less keeps what is under way": (
        "test(/leaves::.*no_longer_allows/)",
        [("src/engine/keys/door.rs", "key.id == id && !key.has_expired && allows(key)", "key.id == id && !key.has_expired && (allows(key) || true)")]),
    "a key of an older clock goes on": (
        "test(/leaves::.*expires|a_key_holds_until/)",
        [("src/engine/keys.rs", "let is_other = |key: &Key| key.has_expired != key.is_over(now);", "let is_other = |key: &Key| key.has_expired && !key.is_over(now);")]),
    "any page may write": (
        "test(/origins::no_page_of_another_origin/)",
        [("src/http/mod.rs", "CsrfLayer::new().with_rejection_response(problem::cross_origin)",
          "CsrfLayer::new().with_insecure_bypass(|_, _| true).with_rejection_response(problem::cross_origin)")]),
    "a page is another's if a port is written": (
        "test(/origins::an_origin_is_the_servers_own/)",
        [("src/http/own_origin.rs", "port_u16().unwrap_or(default_port)", "port_u16().unwrap_or(default_port - default_port)")]),
    "every origin is the server's own": (
        "test(/origins::an_origin_is_the_servers_own/)",
        [("src/http/own_origin.rs", "(is_called || is_named)", "(is_called || is_named || true)")]),
    "a key that has expired lets a server start": (
        "test(/a_key_counts_as_long|a_key_that_has_expired_is_none/)",
        [("src/engine/keys.rs", "!self.has_expired && !self.scopes.is_empty()", "!self.scopes.is_empty()")]),
    "that the last key expires opens the server": (
        "test(a_key_counts_as_long)",
        [("src/engine/keys.rs", "(false, _) => Standing::NoneWorks,", "(false, _) => Standing::Open,")]),
    "an answer that is not JSON costs the process": (
        "test(e24_a_result_that_not_every_reader_takes)",
        [("src/runtime/worker/bad_line.rs", "id.parse().map_or(About::Nothing, About::Answer)", "id.parse::<u64>().map_or(About::Nothing, |_| About::Nothing)")]),
    "an answer that is too long costs the process": (
        "test(e24_a_result_that_not_every_reader_takes)",
        [("src/runtime/worker/session.rs", "if begins_answer(lines.head(), id)", "if begins_answer(lines.head(), id) && false")]),
    "a start does not wait for a lock": (
        "test(/locked::g6_/)",
        [("src/store/sqlite/durability/patience.rs", "        if !error.is_lock() {", "        if !error.is_lock() || within.as_secs() > 0 {")]),
    "fsck reads less than a start": (
        "test(fsck_finds_whatever_no_server_starts_on)",
        [("src/store/sqlite/durability/fsck.rs", "    match start_reads(database) {", "    drop(start_reads(database));\n    match Ok(()) {")]),
    "a hang-up is held back for ever": (
        "test(a_hang_up_that_is_older_than_the_server)",
        [("src/app/signals.rs", "        take_hang_ups();\n        Ok(heard)", "        Ok(heard)")]),
    "whoever asks is told what is in the server": (
        "test(who_may_not_read_is_told)",
        [("src/http/health.rs", "        Err(_not_let_in) => None,", "        Err(_not_let_in) => Some(desk.inside().await?),")]),
    "a lost seal key is replaced without a word": (
        "test(a_seal_key_that_is_lost)",
        [("src/app/secrets.rs", "if !is_there && !config.accept_data_loss &&", "if is_there && !config.accept_data_loss &&")]),
    "what does not read back is shown": (
        "test(g3_a_value_that_does_not_read_back)",
        [("src/store/sqlite/row.rs", "Ok(written.is_none_or(|written| written == codec::sum(text)))",
          "Ok(written.is_none_or(|written| written == codec::sum(text)) || true)"),
         ("src/store/sqlite/row.rs", "Ok(written.is_none_or(|written| codec::is_sum_of(written, job.ordinal, text)))",
          "Ok(written.is_none_or(|written| codec::is_sum_of(written, job.ordinal, text)) || true)")]),
    "a log that is cut is taken": (
        "test(g3_a_log_of_commits_that_is_cut)",
        [("src/store/sqlite/durability/high_water.rs", "    if let Some(whole) = whole.filter(|whole| *whole < mark.frames) {",
          "    if let Some(whole) = whole.filter(|whole| *whole > mark.frames) {"),
         ("src/store/sqlite/durability/high_water.rs", "    let is_behind = logged_to < mark.logged_to || unlogged_commits < mark.unlogged_commits;",
          "    let is_behind = logged_to < mark.logged_to && logged_to > mark.logged_to;")]),
    "manual jobs have no limit": (
        "test(/manual_limit::|conformance::manual/)",
        [("src/store/sqlite/slots/manual.rs", "self.manual.waiting >= self.manual.max", "self.manual.waiting > self.manual.max + 1_000")]),
    "a manual job whose time is over keeps its place": (
        "test(/manual_limit::|conformance::manual/)",
        [("src/store/sqlite/jobs/timers.rs", "        txn.slots.withdraw_manual();\n", "")]),
    "a group that is rolled back keeps the places of manual jobs": (
        "test(/conformance::manual/)",
        [("src/store/sqlite/slots/mod.rs", "Undo::Manual(waiting) => self.manual.waiting = waiting,", "Undo::Manual(_) => {}")]),
    "a start forgets the manual jobs that wait": (
        "test(/manual_limit::|conformance::manual/)",
        [("src/store/sqlite/durability/recovery.rs", "            slots.readmit_manual();\n", "")]),
    "a batch that is refused keeps its places": (
        "test(/::places::/)",
        [("src/store/sqlite/jobs/submit.rs", "        txn.slots.take_back_to(steps);\n", "")]),
    "an outcome that a locked database refuses is forgotten": (
        "test(/refused_for_now|locked/)",
        [("src/store/sqlite/jobs/complete.rs", "IfRefused::Retry", "IfRefused::Answer")]),
    "a slot that comes back is forgotten": (
        "test(/refused_for_now/)",
        [("src/store/sqlite/capacity.rs", "            _ => IfRefused::Retry,\n", "            _ => IfRefused::Answer,\n")]),
    "an end of our own making is a death": (
        "test(/refused_for_now/)",
        [("src/store/sqlite/writer/mod.rs", "        // At once: who knows how the rest of the server ends.\n        self.note.ended(self.counters.epoch);\n", "")]),
    "deaths during a delivery are not counted": (
        "test(/conformance::deaths|g9_a_delivery/)",
        [("src/store/sqlite/callbacks/deaths.rs", "it.deaths + u32::from(died)", "it.deaths")]),
    "a resolved address is not checked": (
        "test(/egress|outbound/)",
        [("src/outbound/egress.rs", "        if self.is_own(address) {", "        if !self.is_own(address) {\n            return Ok(());\n        }\n        if self.is_own(address) {")]),
    "a webhook is signed with the time that was counted": (
        "test(g19_a_delivery_is_signed)",
        [("src/engine/deliverer/post.rs", "let (now, started) = (self.clock().wall_now(), Instant::now());",
          "let (now, started) = (self.now(), Instant::now());")]),
    "a key ends by the time that was counted": (
        "test(g19_a_key_ends)",
        [("src/engine/clock.rs", "        self.dial.wall.now()\n", "        self.now()\n")]),
    "the times of a job are shown as they were counted": (
        "test(g19_the_times_of_a_job)",
        [("src/domain/spec.rs", "at.plus_millis(self.options.wall_ahead_ms)", "at.plus_millis(0 * self.options.wall_ahead_ms)")]),
    "a name that hangs keeps its place": (
        "test(/lookups/)",
        [("src/outbound/lookups/turns.rs", "brisk += usize::from(running.is_brisk(now));",
          "brisk += usize::from(running.is_brisk(now) || true);")]),
    "look-ups of functions and of webhooks share their places": (
        "test(/lookups/)",
        [("src/outbound/lookups/turns.rs", "key.0 == purpose && running.pace == pace", "(key.0 == purpose || true) && running.pace == pace")]),
    "a public address of this machine is reached": (
        "test(/egress/)",
        [("src/outbound/egress.rs", "None if (self.is_of_this_machine)(address.ip()) => {",
          "None if (self.is_of_this_machine)(address.ip()) && false => {")]),
    "a secret goes to any host": (
        "test(/secret/)",
        [("src/runtime/native/secrets.rs", "if !place_of(url).is_some_and(|place| secret.hosts.contains(&place)) {",
          "if !place_of(url).is_some_and(|place| secret.hosts.contains(&place) || true) {")]),
    "a redirect takes a secret along": (
        "test(/secret|credentials_stay/)",
        [("src/outbound/redirect.rs", "        remove_secrets(&mut request.headers);\n", "")]),
    "a full disk is filled up": (
        "test(g16_room_is_held_back)",
        [("src/store/sqlite/durability/space.rs", "        *seen = Seen { looked_at: Some(Instant::now()), is_low: told(seen.is_low, true, 0) };",
          "        *seen = Seen { looked_at: Some(Instant::now()), is_low: told(seen.is_low, false, 0) };")]),
    "a reaper that was stopped is waited for": (
        "test(a_program_that_stops_its_keeper)",
        [("src/runtime/process/handle.rs", "                    if self.stopped > 1 {", "                    if self.stopped > 1_000_000 {")]),
    "a silent spawner is kept": (
        "test(a_program_that_stops_the_spawner_too)",
        [("src/runtime/process/handle.rs", "            self.replace(number);\n", "            drop(number);\n")]),
    "a reaper is told to end its program, and no more": (
        "test(a_program_whose_keeper_is_stopped_is_ended_by_a_cancel)",
        [("src/runtime/process/handle.rs", "const ENDED_WITHIN: Duration = Duration::from_secs(2);",
          "const ENDED_WITHIN: Duration = Duration::from_secs(2_000);")]),
    "nothing lies over the data directory": (
        "test(behind_namespaces_a_program_reaches_nothing)",
        [("src/runtime/process/walls.rs", "        for hidden in &self.walls.hidden {", "        for hidden in self.walls.hidden.iter().take(0) {")]),
    "control groups can be written by programs": (
        "test(behind_namespaces_a_program_reaches_nothing)",
        [("src/runtime/process/walls.rs", "        for point in self.walls.read_only.iter().chain(for_root) {",
          "        for point in self.walls.read_only.iter().chain(for_root).take(0) {")]),
    "a program that runs as root keeps all that root may do": (
        "test(behind_namespaces_a_program_reaches_nothing)",
        [("src/runtime/process/process_reaper.rs", "    if is_root && walls.is_something() {", "    if is_root && !walls.is_something() {")]),
    "Landlock leaves signals alone": (
        "test(behind_landlock_a_program_reaches_nothing)",
        [("src/runtime/process/walls.rs", "        let whole = of_files.set_compatibility(CompatLevel::BestEffort).scope(Scope::Signal);",
          "        let whole = Ok::<_, landlock::RulesetError>(of_files);")]),
    "the server can be looked into by its user": (
        "test(without_walls_a_program_of_the_same_user)",
        [("src/app.rs", "set_dumpable_behavior(DumpableBehavior::NotDumpable)", "set_dumpable_behavior(DumpableBehavior::Dumpable)")]),
    "a program of another user is the server's": (
        "test(a_program_of_another_user_is_that_user)",
        [("src/runtime/process/process_reaper.rs", "        user.become_it()?;\n", "        user.is_root();\n")]),
    "a data directory that is open to others stays so": (
        "test(a_data_directory_that_is_open_to_others)",
        [("src/app/data_dir.rs", "    if mode & OTHERS == 0 {", "    if mode & OTHERS == OTHERS & mode {")]),
    "bodies need no room": (
        "test(g14_whoever_holds_its_share)",
        [("src/http/room.rs", "        room.map_err(|_elapsed| overloaded(share))\n", "        Ok(room.unwrap_or_default())\n")]),
    "what is announced is counted": (
        "test(g14_bodies_that_are_announced)",
        [("src/http/extract.rs", "            self.desk.look(share, *first).await?;\n",
          "            self.desk.look(share, *first).await?;\n"
          "            self.desk.grow(share, &mut held, HELD_TIMES * self.declared).await?;\n")]),
    "nobody looks for room before a body comes": (
        "test(g14_a_body_for_whose_first_piece)",
        [("src/http/room.rs", "        self.room(share, first).await.map(drop)\n", "        self.room(share, first.min(0)).await.map(drop)\n")]),
    "what a body holds beside its bytes is not counted": (
        "test(a_body_that_counts_counts_for)",
        [("src/http/room.rs", "{ bytes + BESIDE_BYTES }", "{ bytes + BESIDE_BYTES.min(1) }")]),
    "nobody is told that requests are refused": (
        "test(g14_the_log_says_when_requests_begin)",
        [("src/http/room.rs", "    share.has_refused();\n", "")]),
    "one holds all there is": (
        "test(/g14_whoever_holds_its_share|nobody_holds_more_than/)",
        [("src/engine/budget/holdings.rs", "held.saturating_add(bytes.saturating_mul(2)) <= self.free()", "held.saturating_mul(0).saturating_add(bytes) <= self.free()")]),
    "all who show no key have shares of their own": (
        "test(/the_first_of_those_who_are_not_known|g14_half_headers_without_a_key/)",
        [("src/http/strangers.rs", ".cloned().unwrap_or(Who::Strangers)", ".cloned().unwrap_or(self.as_itself())")]),
    "nobody may pass": (
        "test(/g14_bodies_of_which_no_two|one_after_the_other_comes_to_its_end/)",
        [("src/engine/budget/holdings.rs", "if !may_pass || self.is_passed {", "if !may_pass || self.is_passed || bytes > 0 {")]),
    "all may pass": (
        "test(one_after_the_other_comes_to_its_end)",
        [("src/engine/budget/holdings.rs", "        self.is_passed = true;\n", "")]),
    "an idle map holds room for all its calls": (
        "test(g14_maps_to_which_nothing_comes)",
        [("src/http/map.rs", "        held: Held::default(),\n", "        held: share.take(buffersize * CALL_BYTES).await,\n"),
         ("src/http/map.rs", "    let map = desk.engine.map(new).await?;\n", "    let buffersize = new.buffersize;\n    let map = desk.engine.map(new).await?;\n"),
         ("src/http/map.rs", "        share,\n        portion", "        share: share.clone(),\n        portion")]),
    "answers of small lines are not counted": (
        "test(lines_hold_room_for_their_answers)",
        [("src/http/line_reader.rs", "    LINE_HELD_TIMES * bytes + lines.len() * ANSWER_BYTES\n", "    LINE_HELD_TIMES * bytes + lines.len().min(1)\n")]),
    "an answer that must be sent is not counted": (
        "test(an_answer_that_must_be_sent)",
        [("src/http/room.rs", "with(body, share.owe(bytes))", "with(body, share.owe(bytes.min(1)))")]),
    "a line that does not come keeps others waiting": (
        "test(g14_a_body_or_line_that_does_not_come)",
        [("src/http/room.rs", "            if share.is_short() {\n", "            if share.is_short() && self.within.is_zero() {\n")]),
    "what is on its way to a reader is not counted": (
        "test(g14_answers_for_which_there_is_no_room)",
        [("src/engine/budget.rs", "        if self.0.is_none() {\n            return bytes.into();\n        }\n",
          "        if self.0.is_none() || self.0.is_some() {\n            return bytes.into();\n        }\n")]),
    "strangers keep their places": (
        "test(/g14_sockets_that_say_nothing|the_first_of_those_who_are_not_known/)",
        [("src/http/strangers.rs", "return first.remove().gone.cancel();", "return drop(first.remove().gone);")]),
    "connections are not fitted to the descriptors": (
        "test(g14_connections_are_fitted)",
        [("src/app/descriptors.rs", "let connections = limits.fitted(descriptors);", "let connections = limits.connections.max(limits.fitted(descriptors));")]),
    "a peer that is gone is not found": (
        "test(g14_a_peer_that_says_nothing_is_asked)",
        [("src/http/serve.rs", "socket.set_keepalive(true)?;", "socket.set_keepalive(false)?;")]),
    "a silent stream stays silent": (
        "test(a_stream_that_is_silent_gives_signs_of_life)",
        [("src/http/beats.rs", "() = tokio::time::sleep(every) =>", "() = tokio::time::sleep(every * 1_000_000) =>")]),
    "any transfer coding is taken": (
        "test(whatever_is_sent_has_its_answer)",
        [("src/http/admit.rs", "        check_transfer(request.headers())?;\n", "        drop(check_transfer(request.headers()));\n")]),
    "whoever logs waits for the reader": (
        "test(a_log_that_nobody_reads)",
        [("src/telemetry/writer.rs", "        let mut waiting = self.shared.lock();\n        if waiting.bytes.len()",
          "        write_all(self.shared.to, bytes);\n        let mut waiting = self.shared.lock();\n        if waiting.bytes.len()")]),
    "dropped lines are not said": (
        "test(lines_that_found_no_room)",
        [("src/telemetry/writer.rs", "            waiting.dropped += 1;\n", "")]),
    "every line of a kind is written": (
        "test(of_a_kind_only_so_many_lines)",
        [("src/telemetry/rate.rs", "if kind.lines <= LINES_A_SECOND {", "if kind.lines <= u32::MAX {")]),
    "a value is shown by Debug": (
        "test(nothing_that_a_client_sent_is_shown)",
        [("src/domain/hidden.rs", "write!(formatter, \"Json({:?})\", Hidden::of(self.as_str()))", "write!(formatter, \"Json({})\", self.as_str())")]),
    "what a worker wrote goes into the log": (
        "test(nothing_that_a_client_sent_is_in_the_log)",
        [("src/runtime/worker/session.rs", "let reason = by_itself.unwrap_or(lost.reason);", "let reason = by_itself.unwrap_or(lost.whole());")]),
    "libraries trace what passes through them": (
        "test(nothing_that_a_client_sent_is_in_the_log)",
        [("src/telemetry/rate.rs", "        is_discreet(place)\n", "        is_discreet(place) || true\n")]),
    "a job fails without a line": (
        "test(each_job_that_fails_has_a_line)",
        [("src/engine/dispatcher.rs", "                failures::tell(&job);\n", "")]),
    "SIGHUP is a death": (
        "test(a_hang_up_ends_no_server)",
        [("src/app/signals.rs", "let hang_up = heard(SignalKind::hangup())?;", "let hang_up = heard(SignalKind::user_defined1())?;")]),
    "a broken file is taken in part": (
        "test(a_configuration_that_cannot_be_taken)",
        [("src/app/reload.rs", "            Err(error) => tracing::error!(%error, \"not reloaded: nothing is changed\"),",
          "            Err(error) => {\n                self.engine.renew_workers();\n                tracing::error!(%error, \"not reloaded: nothing is changed\");\n            }")]),
    "all processes of a worker are renewed at once": (
        "test(code_that_cannot_start_takes_one_process)",
        [("src/runtime/worker/renewal.rs", "Arc::new(Semaphore::new(1))", "Arc::new(Semaphore::new(100))")]),
    "a delivery forges a verdict": (
        "test(nothing_that_comes_is_obeyed)",
        [("src/app/listen.rs", "-> {answer}\\n  {body}", "-> {answer}\\n{body}")]),
    "a terminal obeys what is received": (
        "test(nothing_that_comes_is_obeyed) or test(nothing_that_a_terminal_obeys)",
        [("src/app/printed.rs", "if is_kept || !(letter.is_control() || is_direction(letter)) {", "if is_kept || letter != '\\n' {")]),
    "an error is as long as it likes": (
        "test(/^texts::|error::tests/)",
        [("src/domain/error.rs", "message: text::head(&text::without_nul(&message), Self::TEXT_BYTES_MAX).into(),",
          "message: text::without_nul(&message).as_ref().into(),")]),
    "failed attempts keep all their texts": (
        "test(/^texts::|attempts::tests/)",
        [("src/domain/attempts.rs", "            if bytes <= Self::BYTES_MAX {\n", "            if bytes <= usize::MAX {\n")]),
    "the database keeps the texts that attempts have lost": (
        "test(an_error_is_cut_and_so_are_all_attempts_together)",
        [("src/store/sqlite/jobs/complete.rs", "next.attempts.changed_since(&before.attempts) {",
          "next.attempts.changed_since(&before.attempts).last() {")]),
    "a message of a progress is as long as it likes": (
        "test(what_a_worker_says_of_a_call)",
        [("src/domain/job.rs", "text::head(&text::without_nul(message), Self::MESSAGE_BYTES_MAX).into_owned()",
          "text::head(&text::without_nul(message), Self::MESSAGE_BYTES_MAX.max(usize::MAX)).into_owned()")]),
    "a worker describes itself at any length": (
        "test(e24_a_result_that_not_every_reader_takes)",
        [("src/runtime/worker/protocol.rs", "text::head(&text.description, DESCRIPTION_BYTES_MAX)", "text::head(&text.description, DESCRIPTION_BYTES_MAX.max(usize::MAX))")]),
    "a callback has headers of any length": (
        "test(a_callback_has_a_url_a_host_and_headers)",
        [("src/engine/request.rs", "(\"headers\", \"all headers together\", headers, NewCallback::HEADERS_BYTES_MAX),",
          "(\"headers\", \"all headers together\", headers, NewCallback::HEADERS_BYTES_MAX.max(usize::MAX)),")]),
    "a host has a name of any length": (
        "test(a_callback_has_a_url_a_host_and_headers)",
        [("src/outbound/egress.rs", "host.len() > HOST_BYTES_MAX) {", "host.len() > HOST_BYTES_MAX.max(usize::MAX)) {")]),
    "a brief view shows the whole error": (
        "test(/^texts::|brief::tests/)",
        [("src/domain/brief.rs", "error: is_large(job.error.as_ref().map_or(0, JobError::json_bytes)),", "error: false,")]),
    "half of a surrogate pair is a result": (
        "test(/^texts::e24|readable::tests/)",
        [("src/domain/json/readable.rs", "            (None, Some(0xd800..=0xdbff)) => half = Some(place),\n", "")]),
    "a result is not looked at": (
        "test(texts::e24)",
        [("src/runtime/mod.rs", "        match check(result.as_str(), Keys::Any) {", "        match check(\"1\", Keys::Any) {")]),
    "a job has callbacks without end": (
        "test(the_callbacks_of_a_job_and_of_a_batch)",
        [("src/store/sqlite/callbacks/add.rs", "if has_all_callbacks(txn.sql, job)? {", "if has_all_callbacks(txn.sql, job)? && false {")]),
    "a job that was forgotten is left out of a wait": (
        "test(w1_a_job_that_is_forgotten)",
        [("src/http/wait_many.rs", "EndedJob::Gone(ended) => self.gone.push(gone(ended)),", "EndedJob::Gone(_) => {}")]),
    "one member of gzip is all": (
        "test(a_body_of_several_gzip_members)",
        [("src/outbound/decoded.rs", "decoder.multiple_members(true);", "decoder.multiple_members(false);")]),
    "what follows a body is passed over": (
        "test(a_body_of_several_gzip_members)",
        [("src/outbound/decoded.rs", "            decoder.multiple_members(true);\n", "            decoder.multiple_members(false);\n"),
         ("src/outbound/decoded.rs", "match source(&mut decoder).fill_buf().await?.is_empty() {\n            true", "match true || source(&mut decoder).fill_buf().await?.is_empty() {\n            true")]),
    "a POST is sent twice": (
        "test(what_may_not_be_done_twice)",
        [("src/outbound/client.rs", "                    && is_idempotent(&request.method)\n", "")]),
    "a GET that crossed with a hang-up is lost": (
        "test(a_get_on_a_kept_connection)",
        [("src/outbound/client.rs", "if sending.connections() == before\n", "if sending.connections() > before\n")]),
    "jitter goes beyond the longest wait": (
        "test(/clocks::tests/)",
        [("src/domain/clocks.rs", "(wait * (1.0 + retry.jitter)).min(longest)", "wait * (1.0 + retry.jitter)")]),
    "Retry-After is not heeded": (
        "test(an_answer_that_means_later)",
        [("src/domain/settle.rs", ".max(asked_ms.min(retry.max_ms))", ".max(asked_ms.min(0))")]),
    "a part of a millisecond is cut off": (
        "test(/moment/)",
        [("src/http/moment.rs", "plus_millis(i64::from(moment.is_finer))", "plus_millis(0)")]),
    "a retry has no key": (
        "test(g8_a_retry_that_is_repeated)",
        [("src/engine/retry.rs", "NewJob { asker, id: chosen, identity, ..call }", "NewJob { asker, id: chosen, ..call }")]),
    "lines of a log are made by chance": (
        "test(/stderr::tests/)",
        [("src/runtime/stderr.rs", "if !(std::mem::take(&mut self.is_in_parts) && bytes.is_empty()) {", "if !bytes.is_empty() || !std::mem::take(&mut self.is_in_parts) || true {")]),
    "a probe needs a name": (
        "test(a_probe_may_call)",
        [("src/http/admit.rs", "configured || is_local(name) || is_keyed || is_probe(request)", "configured || is_local(name) || is_keyed")]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(MUTANTS))
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    missing = [f"{name}: {file} does not have its lines once" for name, (_, edits) in MUTANTS.items()
               for file, old, _ in edits if (ROOT / file).read_text().count(old) != 1]
    for name in MUTANTS if options.list else []:
        print(name)
    if missing or options.list:
        sys.exit("\n".join(missing) or 0)
    programs = programs_of(options.only or MUTANTS)
    living = [name for name in options.only or MUTANTS if not dies(name, programs[name])]
    sys.exit(f"these live: {', '.join(living)}" if living else 0)


def programs_of(names):
    """The options that build just the test programs in which the tests of each mutant are."""
    tree = copied()
    built = cargo(tree, "run", "--no-run")
    if built.returncode != 0:
        sys.exit(f"the tree as it is cannot be built:\n{built.stderr[-3000:]}")
    return {name: programs_with(tree, MUTANTS[name][0]) for name in names}


def programs_with(tree, tests):
    listed = json.loads(cargo(tree, "list", "--message-format", "json", "-E", tests).stdout)
    suites = [suite for suite in listed["rust-suites"].values()
              if any(case["filter-match"]["status"] == "matches" for case in suite["testcases"].values())]
    if not suites:
        sys.exit(f"no test is named by {tests}")
    return [option for suite in suites
            for option in (["--lib"] if suite["kind"] == "lib" else [f"--{suite['kind']}", suite["binary-name"]])]


def dies(name, programs):
    """Whether the tests notice this one."""
    tests, edits = MUTANTS[name]
    tree = copied()
    for file, old, new in edits:
        path = tree / file
        path.write_text(path.read_text().replace(old, new))
    built = cargo(tree, "run", "--no-run", *programs)
    if built.returncode != 0:
        print(f"| {name} | CANNOT BE BUILT: {built.stderr[-1500:]} |", flush=True)
        return False
    ran = cargo(tree, "run", "--no-fail-fast", *programs, "-E", tests)
    caught = [line.split(") ", 1)[-1] for line in ran.stderr.splitlines() if line.strip().startswith("FAIL") or "TIMEOUT" in line]
    caught = sorted({line.split()[-1] for line in caught})
    print(f"| {name} | {'caught by ' + str(len(caught)) + ': ' + ', '.join(caught)[:200] if caught else 'LIVES'} |", flush=True)
    return bool(caught)


def copied():
    """A fresh copy of all files that are not ignored; what was built before is kept beside it."""
    tree = PLACE / "tree"
    tree.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = ROOT / name, tree / name
        if not source.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        # The same bytes keep their time, so that only what changes is built again.
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)
    return tree


def cargo(tree, *arguments):
    """nextest on the copy; without debug information, which nobody reads here and which takes half of the building."""
    verb, *options = arguments
    command = ["cargo", "nextest", verb, "--locked", "--target-dir", str(PLACE / "build"), *options]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, env={**os.environ, "CARGO_PROFILE_DEV_DEBUG": "0"})


if __name__ == "__main__":
    main()
