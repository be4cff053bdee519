//! Runs that are kept: killed, out of gas, moved; and machines that are looked at.

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::Place;
use serde_json::Value;

/// Something of everything that a checkpoint has to hold: memory, managed heap, records, slots, scratch, cursors,
/// savepoints, events, the console, transactions of its own and another contract.
const WORKER: &str = r#"
.module worker
.arch 64
.memory 1 64
.cap db.read db.write tx console.write
.host console.write
.collection log bytes
.rglobal list
.entry work

.func pub work [n] -> [sum left]{list}
  .local sum i cursor mark
  PUSH 40 MGROW POP
  .while LGET i LGET n LT .do
    LGET i ADDI 1 LSET i
    ; memory, here and there
    LGET i PUSH 2600 MUL PUSH 2600000 MOD LGET i STORE 0
    LGET sum LGET i PUSH 1777 MUL PUSH 2600000 MOD LOAD8 0 ADD LSET sum
    ; the managed heap
    LGET i R.W2B 0 RGGET list CONS RGSET list
    LGET i PUSH 64 MOD EQZ
    .if
      RNULL RGSET list
    .end_if
    ; records, slots
    LGET i PUSH 97 MOD R.W2B 2 LGET i R.W2B 0 DB_PUT log LGET sum ADD LSET sum
    LGET i PUSH 31 MOD LGET sum SSTORE
    PUSH 3 LGET sum TSTORE
    ; something that is undone
    LGET i PUSH 7 MOD EQZ
    .if
      SAVEPOINT LSET mark
      PUSH 1000 LGET i SSTORE PUSH 3 LGET i TSTORE
      PUSH 5 RCONST "never" EMIT 1
      LGET mark ROLLBACK
      LGET sum PUSH 1000 SLOAD ADD PUSH 3 TLOAD XOR LSET sum
    .end_if
    ; a cursor that stays open for a while
    LGET i PUSH 13 MOD PUSH 1 EQ
    .if
      RNULL RNULL DB_SCAN log 1 LSET cursor
    .end_if
    LGET i PUSH 13 MOD PUSH 4 LT LGET i PUSH 50 MOD PUSH 10 GT AND LGET cursor PUSH 0 GT AND
    .if
      LGET cursor DB_NEXT LGET sum ADD LSET sum
      RDUP 0 RKIND PUSH 2 EQ
      .if
        RDUP 0 BLEN LGET sum ADD LSET sum
      .end_if
      RPOP RPOP
    .end_if
    LGET i PUSH 11 MOD EQZ
    .if
      LGET i LGET sum RCONST "step" EMIT 2
      PUSH 1 RCONST "." SYS console.write
    .end_if
    ; another contract, of another width
    LGET i PUSH 5 MOD EQZ
    .if
      PUSH 100000 PUSH 0 RCONST "tally" LGET i R.W2B 0 XCALL 0
      LGET sum ADD LSET sum
      RDUP 0 RKIND PUSH 2 EQ
      .if
        RDUP 0 BLEN LGET sum ADD LSET sum
      .end_if
      RPOP
    .end_if
    ; a transaction of its own
    LGET i PUSH 50 MOD EQZ
    .if
      TX_COMMIT LGET sum ADD LSET sum
      TX_BEGIN 0
      PUSH 0 LSET cursor
    .end_if
  .end_while
  PUSH 0 LGET sum SSTORE
  LGET sum LGET n RGGET list RET
.end
"#;

const TALLY: &str = r#"
.module tally
.arch 256
.memory 1 2
.collection calls bytes
.cap db.read db.write
.entry main

.func main {input} -> {sum}
  .local i
  .while LGET i PUSH 20 LT .do
    LGET i ADDI 1 LSET i
    PUSH 8 LGET i MUL LGET i STORE 0
    LGET i LGET i SLOAD LGET i ADD SSTORE
  .end_while
  RLGET input RLGET input DB_PUT calls POP
  PUSH 20 SLOAD R.W2B 0 RET
.end
"#;

/// A process, threads, tasks that trap, and all that they wait for: messages, turns, an address, an end; cursors of queries.
const CREW: &str = r#"
.module crew
.arch 64
.memory 1 64
.cap db.read db.write tx
.collection log bytes
.collection people doc
.const ann doc { "age": 30, "name": "Ann" }
.const bob doc { "age": 25, "name": "Bob" }
.query older "SELECT name FROM people WHERE age > $1 ORDER BY age"
.query ages "SELECT age, COUNT(*) AS c FROM people GROUP BY age"
.global total = 0
.rglobal trace
.entry crew

.func pub crew [n] -> [sum total]{trace}
  .local i sum counter left right cursor groups
  PUSH 60 MGROW POP
  PUSH -1 SPAWN process tally LSET counter
  LGET n PUSH 1 PUSH -1 SPAWN thread worker LSET left
  LGET n PUSH 2 PUSH -1 SPAWN thread worker LSET right
  .while LGET i LGET n LT .do
    LGET i ADDI 1 LSET i
    ; what a process of its own makes of a number; it is not waited for without end
    LGET counter LGET i R.W2B 0 SEND LGET sum ADD LSET sum
    LGET i PUSH 7 MOD RECV LGET sum CALL mix LSET sum
    RKIND LGET sum CALL mix LSET sum
    ; threads share the memory: one of them waits here, and sometimes this one
    LGET i PUSH 3 MOD EQZ
    .if
      PUSH 64 PUSH 1 A.NOTIFY 0 LGET sum CALL mix LSET sum
    .end_if
    LGET i PUSH 8 MOD EQZ
    .if
      PUSH 72 PUSH 72 LOAD 0 PUSH 5 A.WAIT u64 0 LGET sum CALL mix LSET sum
    .end_if
    LGET i PUSH 97 MOD R.W2B 2 LGET i R.W2B 0 DB_PUT log LGET sum ADD LSET sum
    ; queries that stay open for a while
    LGET i PUSH 2 AND
    .if
      LGET i R.W2B 2 RCONST ann DB_PUT people POP
    .else
      LGET i R.W2B 2 RCONST bob DB_PUT people POP
    .end_if
    LGET i PUSH 25 MOD PUSH 1 EQ
    .if
      RCONST older RCONST 0x8114 DB_QUERY people LSET cursor
      RCONST ages RNULL DB_QUERY people LSET groups
    .end_if
    LGET i PUSH 25 MOD PUSH 20 LT
    .if
      LGET cursor DB_NEXT LGET sum CALL mix LSET sum
      RKIND LGET sum CALL mix LSET sum
      RKIND LGET sum CALL mix LSET sum
    .end_if
    LGET i PUSH 25 MOD PUSH 20 EQ
    .if
      LGET groups DB_NEXT POP BLEN LGET sum CALL mix LSET sum RPOP
    .end_if
    ; a task of its own for a moment, that traps
    LGET i PUSH 10 MOD EQZ
    .if
      LGET i PUSH 0 SPAWN thread fails JOIN ADD LGET sum CALL mix LSET sum RPOP
    .end_if
    ; transactions, while others wait
    LGET i PUSH 50 MOD EQZ
    .if
      TX_COMMIT LGET sum ADD LSET sum
      TX_BEGIN 0
    .end_if
  .end_while
  LGET left JOIN ADD LGET sum CALL mix LSET sum RPOP
  LGET right PUSH 5 KILL LGET sum CALL mix LSET sum
  LGET right JOIN ADD LGET sum CALL mix LSET sum RPOP
  PUSH 0 LGET sum SSTORE
  LGET sum GGET total RGGET trace RET
.end

; Takes numbers and sends back what they are together; has memory and globals of its own.
.func tally
  .local from
  PUSH 62 MGROW POP
again:
  PUSH -1 RECV LSET from
  R.B2W GGET total ADD GSET total
  GGET total PUSH 4096 MUL PUSH 4000000 MOD PUSH 1000 ADD GGET total STORE 0
  GGET total PUSH 5 MOD JZ again
  GGET total PUSH 31 MOD GGET total SSTORE
  LGET from GGET total W2Z unsigned SEND POP
  JMP again
.end

.func worker [n place] -> [sum]
  .local i
  .while LGET i LGET n LT .do
    LGET i ADDI 1 LSET i
    PUSH 72 PUSH 72 LOAD 0 LGET place ADD STORE 0
    PUSH 72 PUSH 2 A.NOTIFY 0 GGET total ADD GSET total
    LGET i PUSH 4 MOD EQZ
    .if
      SELF W2Z unsigned RGGET trace CONS RGSET trace
    .end_if
    LGET i PUSH 32 MOD EQZ
    .if
      RNULL RGSET trace
    .end_if
    LGET i PUSH 5 MOD LGET place EQ
    .if
      PUSH 64 PUSH 0 PUSH 3 A.WAIT u64 0 GGET total ADD GSET total
    .else
      YIELD
    .end_if
    LGET i PUSH 2048 MUL PUSH 3000000 MOD PUSH 4096 ADD LGET i STORE 0
  .end_while
  GGET total RET
.end

.func fails [i]
  LGET i PUSH 20 MOD EQZ
  .if
    LGET i RNULL THROW
  .end_if
  TRAP
.end

.func mix [x sum] -> [sum]
  LGET sum PUSH 31 MUL LGET x ADD PUSH 16777215 AND RET
.end
"#;

const STEPS: &str = "600";

fn place() -> Place {
    let place = Place::new();
    place.write("worker.dasm", WORKER);
    place.write("tally.dasm", TALLY);
    place.write("crew.dasm", CREW);
    place.ok(&["deploy", "tally.dasm", "--db", "state.db"]);
    place
}

const RUN: [&str; 5] = ["run", "worker.dasm", "--arg", STEPS, "--json"];
const CREW_RUN: [&str; 5] = ["run", "crew.dasm", "--arg", "300", "--json"];
const RESUME: [&str; 2] = ["resume", "--json"];

fn with<'a>(args: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

/// What a run came to, and the root of the state after it.
fn end(place: &Place, answer: &str) -> (Value, String) {
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert_eq!(answer["status"], "ok", "{answer}");
    (answer, place.ok(&["db", "root", "--db", "state.db"]))
}

/// The end of a run that nothing happened to.
fn undisturbed(run: &[&str]) -> (Value, String) {
    let place = place();
    let answer = place.ok(&with(run, &["--db", "state.db"]));
    end(&place, &answer)
}

fn machines(place: &Place) -> Vec<Value> {
    let answer = place.json(0, &["db", "machines", "--db", "state.db", "--json"]);
    answer["machines"].as_array().unwrap().clone()
}

#[test]
fn a_kept_run_ends_as_any_other() {
    for run in [RUN, CREW_RUN] {
        let expected = undisturbed(&run);
        let place = place();
        let answer = place.ok(&with(&run, &["--db", "state.db", "--checkpoint-every", "20000"]));
        assert_eq!(end(&place, &answer), expected);
        assert!(machines(&place).is_empty());
        place.fails(4, &["resume", "--db", "state.db"], &["no run is kept in this store"]);
        place.ok(&["db", "check", "--db", "state.db"]);
    }
}

#[test]
fn killed_runs_end_as_if_nothing_had_happened() {
    kill(&RUN, dotvm_test_modes::pick(6, 200));
}

#[test]
fn killed_runs_of_tasks_end_as_if_nothing_had_happened() {
    kill(&CREW_RUN, dotvm_test_modes::pick(6, 200));
}

/// Kills with signal 9 at random moments, again and again, until a run comes to its end: so many times.
fn kill(run: &[&str], rounds: u32) {
    let expected = undisturbed(run);
    let mut random = fastrand::Rng::new();
    let (mut kills, mut resumed) = (0u32, 0);
    // How long a process takes that is not killed, on this machine as it is now.
    let timed = place();
    let start = Instant::now();
    timed.ok(&with(run, &["--db", "state.db", "--checkpoint-every", "10000"]));
    let whole = start.elapsed();
    let mut round = 0;
    // Until enough were killed, whatever luck had it.
    while round < rounds || resumed < rounds / 2 {
        round += 1;
        assert!(round < 20 * rounds, "{resumed} resumed");
        let place = place();
        let run = with(run, &["--db", "state.db", "--checkpoint-every", "10000"]);
        let resume = with(&RESUME, &["--db", "state.db"]);
        let mut args = run.clone();
        let answer = loop {
            let mut child =
                place.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            // The longer a round takes, the longer its processes live.
            let until = Instant::now() + whole.mul_f64(random.f64() + f64::from(kills % 10) / 20.0);
            while Instant::now() < until && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_micros(200));
            }
            let ended = child.try_wait().unwrap().is_some();
            if !ended {
                child.kill().unwrap();
                kills += 1;
            }
            let output = child.wait_with_output().unwrap();
            let answer = String::from_utf8(output.stdout).unwrap();
            if answer.ends_with('\n') {
                break answer;
            }
            assert!(!ended, "round {round}: {args:?} ended with {:?} and without an answer", output.status);
            args = match &machines(&place)[..] {
                [] => run.clone(),
                [machine] => {
                    assert_ne!(machine["status"], "damaged", "{machine}");
                    resumed += 1;
                    resume.clone()
                }
                several => panic!("{several:?}"),
            };
        };
        assert_eq!(end(&place, &answer), expected, "round {round} after {kills} kills");
        // Killed behind its answer, a run is still there and says the same.
        for machine in machines(&place) {
            assert_eq!(machine["status"], "ended");
            assert_eq!(end(&place, &place.ok(&resume)), expected);
        }
        assert!(machines(&place).is_empty());
    }
    eprintln!("{round} rounds, {kills} kills, {resumed} resumed: all ended the same");
}

#[test]
fn a_run_out_of_gas_goes_on_with_more() {
    for (run, first, more) in [(RUN, "100000", "77777"), (CREW_RUN, "20000", "30303")] {
        // A contract that is called gets no more gas than there is, so here there is none to call.
        let [expected, place] = [(); 2].map(|()| {
            let place = Place::new();
            place.write("worker.dasm", WORKER);
            place.write("crew.dasm", CREW);
            place
        });
        let answer = expected.ok(&with(&run, &["--db", "state.db"]));
        let expected = end(&expected, &answer);
        let mut args = with(&run, &["--db", "state.db", "--checkpoint-every", "10000", "--gas", first]);
        let mut stops = 0;
        let answer = loop {
            let run = place.run(&args);
            if run.code == 0 {
                break run.stdout;
            }
            let answer: Value = serde_json::from_str(&run.stdout).unwrap();
            assert_eq!((run.code, &answer["trap"]["kind"]), (1, &Value::from("Gas")), "{answer}");
            assert_eq!(answer["machine"], machines(&place)[0]["machine"]);
            assert_eq!(machines(&place)[0]["status"], "out of gas");
            stops += 1;
            args = with(&RESUME, &["--db", "state.db", "--gas", more]);
        };
        assert_eq!(end(&place, &answer), expected);
        assert!(stops > 5, "{stops} stops");
    }
}

#[test]
fn a_machine_moves_with_its_store() {
    let expected = undisturbed(&RUN);
    let (here, there) = (place(), Place::new());
    here.run(&with(&RUN, &["--db", "state.db", "--checkpoint-every", "10000", "--gas", "300000"]));
    here.ok(&["db", "backup", "copy.db", "--db", "state.db"]);
    std::fs::copy(here.path("copy.db"), there.path("state.db")).unwrap();
    let answer = there.ok(&with(&RESUME, &["--db", "state.db", "--gas", "1000000000"]));
    assert_eq!(end(&there, &answer), expected);
    // The one that was left behind goes its own way to the same end.
    let answer = here.ok(&with(&RESUME, &["--db", "state.db", "--gas", "1000000000"]));
    assert_eq!(end(&here, &answer), expected);
}

/// Writes a slot, then takes its time.
const SLOW: &str = r#"
.module slow
.arch 64
.memory 4
.func pub main [n] -> [sum]
  .local i sum
  PUSH 200000 PUSH 0x1122334455667788 STORE 0
  PUSH 7 SLOAD LSET sum
  PUSH 7 PUSH 9 SSTORE
  LGET n CALL count LGET sum ADD RET
.end
.func count [n] -> [sum]
  .local sum
  .while LGET n .do
    LGET sum LGET n ADD LSET sum
    LGET n ADDI -1 LSET n
  .end_while
  LGET sum RET
.end
.entry main
"#;

#[test]
fn a_machine_can_be_looked_at() {
    let place = Place::new();
    place.write("slow.dasm", SLOW);
    let run = ["run", "slow.dasm", "--arg", "1000000", "--db", "state.db", "--checkpoint-every", "5000"];
    let stopped = place.run(&with(&run, &["--gas", "20000"]));
    assert_eq!(stopped.code, 1);
    assert!(stopped.stderr.contains("machine 1 is kept"), "{}", stopped.stderr);
    let list = place.ok(&["db", "machines", "--db", "state.db"]);
    assert!(list.contains("out of gas") && list.contains("slow"), "{list}");
    let get = ["db", "get-machine", "1", "--db", "state.db"];
    let shown = place.json(0, &with(&get, &["--json", "--stack", "--locals", "--memory", "200000..200008"]));
    assert_eq!(shown["memory"]["hex"], "8877665544332211");
    let frames = shown["instances"][0]["tasks"][0]["frames"].as_array().unwrap();
    assert_eq!(
        (frames[0]["function"].as_str(), frames[1]["function"].as_str()),
        (Some("count"), Some("main"))
    );
    // n and the sum of what was counted down so far.
    let words: Vec<u64> = frames[0]["locals"]["words"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap().parse().unwrap())
        .collect();
    let [n, sum] = words[..] else { panic!("{words:?}") };
    assert!(n < 1_000_000 && sum == (n + 1..=1_000_000).sum::<u64>(), "{words:?}");
    let text = place.ok(&with(&get, &["--locals", "--memory", "199999..200010"]));
    assert!(text.contains(&format!("local 1  {sum}")), "{text}");
    assert!(text.contains("00030d3f  00 88 77 66 55 44 33 22 11 00 00"), "{text}");
    place.fails(4, &["db", "get-machine", "2", "--db", "state.db"], &["there is no machine 2"]);
    place.ok(&["db", "forget-machine", "1", "--db", "state.db"]);
    place.fails(4, &with(&get, &[]), &["there is no machine 1"]);
}

#[test]
fn what_was_changed_meanwhile_is_a_conflict_or_is_not_in_the_way() {
    let place = Place::new();
    place.write("slow.dasm", SLOW);
    let run = ["run", "slow.dasm", "--arg", "3000", "--db", "state.db", "--checkpoint-every", "5000"];
    let resume = ["resume", "--db", "state.db", "--gas", "1000000"];
    // Of no concern to it.
    place.run(&with(&run, &["--gas", "6000"]));
    place.ok(&["db", "put", "slow", "9", "1", "--db", "state.db"]);
    assert_eq!(place.ok(&resume), "4501500\n");
    // What it has read: it begins again, and adds what it finds there now.
    place.run(&with(&run, &["--gas", "6000"]));
    place.ok(&["db", "put", "slow", "7", "100", "--db", "state.db"]);
    assert_eq!(place.ok(&resume), "4501600\n");
}

#[test]
fn damaged_machines_are_told() {
    let place = Place::new();
    place.write("slow.dasm", SLOW);
    let run = ["run", "slow.dasm", "--arg", "1000000", "--db", "state.db", "--checkpoint-every", "5000"];
    place.run(&with(&run, &["--gas", "20000"]));
    let rows: Vec<_> =
        common::contents(&place.path("state.db")).into_iter().filter(|(key, _)| key[0] == 0x85).collect();
    let original = place.read("state.db");
    for (key, value) in rows {
        for at in [0, value.len() / 2, value.len() - 1] {
            let mut bad = value.clone();
            bad[at] ^= 0x40;
            place.write("state.db", &original);
            {
                let store = dotdb_redb::RedbStore::open(place.path("state.db")).unwrap();
                let mut batch = dotdb_store::Batch::new();
                batch.put(key.clone(), bad);
                dotdb_store::Store::apply(&store, &batch, dotdb_store::Durability::Sync).unwrap();
            }
            place.fails(4, &["resume", "--db", "state.db", "--gas", "1000"], &["machine 1 cannot go on"]);
        }
    }
}

#[test]
fn tasks_can_be_looked_at() {
    let place = place();
    let run = ["run", "crew.dasm", "--arg", "300", "--db", "state.db", "--checkpoint-every", "5000"];
    assert_eq!(place.run(&with(&run, &["--gas", "150000"])).code, 1);
    let get = ["db", "get-machine", "1", "--db", "state.db"];
    let shown = place.json(0, &with(&get, &["--json", "--locals", "--globals", "--memory", "72..80"]));
    let instance = &shown["instances"][0];
    let numbers = |list: &str, number: &str| -> Vec<u64> {
        instance[list].as_array().unwrap().iter().map(|of| of[number].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers("processes", "process"), [0, 1]);
    assert_eq!(numbers("tasks", "task"), [0, 1, 2, 3]);
    // The process that counts has memory and globals of its own; the threads have those of the first task.
    assert_eq!(numbers("tasks", "process"), [0, 1, 0, 0]);
    assert_eq!(numbers("processes", "memory_bytes"), [61 << 16, 63 << 16]);
    let [crew, tally, left, right] = [0, 1, 2, 3].map(|task| &instance["tasks"][task]);
    let functions = [crew, tally, left, right].map(|task| task["frames"][0]["function"].as_str().unwrap());
    assert_eq!(functions, ["crew", "tally", "worker", "worker"]);
    let running = [crew, tally, left, right].map(|task| task["state"] == "runs");
    assert_eq!(running.into_iter().filter(|&runs| runs).count(), 1);
    let local = |task: &Value, local: usize| -> u64 {
        task["frames"][0]["locals"]["words"][local].as_str().unwrap().parse().unwrap()
    };
    assert_eq!([local(left, 1), local(right, 1)], [1, 2]);
    // Each round of a thread adds its place to the word at 72.
    let rounds = [local(left, 2), local(right, 2)];
    let sum = rounds[0] + 2 * rounds[1];
    let found = u64::from_str_radix(shown["memory"]["hex"].as_str().unwrap(), 16).unwrap().swap_bytes();
    assert!(rounds[0] > 5 && found.abs_diff(sum) <= 3, "{found} of {rounds:?}");
    // The process that counts has added the numbers that it was sent: 1, 2 and so on.
    let total: u64 = instance["processes"][1]["globals"]["words"][0].as_str().unwrap().parse().unwrap();
    let counted = (1..).take_while(|n| n * (n + 1) / 2 <= total).last().unwrap();
    assert_eq!((total, counted > 3), (counted * (counted + 1) / 2, true));
    let text = place.ok(&with(&get, &["--locals", "--memory", "0..16", "--process", "1"]));
    for line in ["process 1: memory 4128768 bytes", "task 0 of process 0: ", "task 1 of process 1: "] {
        assert!(text.contains(line), "{line}: {text}");
    }
    place.fails(
        4,
        &with(&get, &["--memory", "0..16", "--process", "2"]),
        &["it has no instance 0 with a process 2"],
    );
}
