//! `keygen`, `seal`, `unseal` and the trust policy of `run`, `deploy` and `verify`.

mod common;

use common::Place;

/// A place with a module and keys; the public keys of `a` and `b`.
fn place() -> (Place, String, String) {
    let place = Place::new();
    place.ok(&["asm", "bank.dasm"]);
    let a = place.ok(&["keygen", "a.key"]).trim().to_owned();
    let b = place.ok(&["keygen", "b.key"]).trim().to_owned();
    place.ok(&["keygen", "--encryption", "secret.key"]);
    place.ok(&["keygen", "--encryption", "other.key"]);
    (place, a, b)
}

fn hello(place: &Place, args: &[&str]) -> String {
    place.ok(&[&["run"][..], args, &["--fn", "hello", "-q"]].concat())
}

#[test]
fn a_sealed_module_runs_as_the_module_does() {
    let (place, a, _) = place();
    let expected = hello(&place, &["bank.dotvm"]);
    let plain = place.read("bank.dotvm");
    place.ok(&["seal", "bank.dotvm", "-o", "small.dotvm", "--compress"]);
    assert!(place.read("small.dotvm").len() < plain.len());
    assert_eq!(hello(&place, &["small.dotvm"]), expected);
    place.ok(&[
        "seal",
        "bank.dasm",
        "-o",
        "all.dotvm",
        "--compress",
        "--encrypt-with",
        "secret.key",
        "--sign-with",
        "a.key",
    ]);
    let open = ["all.dotvm", "--key", "other.key", "--key", "secret.key"];
    assert_eq!(hello(&place, &open), expected);
    assert_eq!(hello(&place, &[&open[..], &["--require-signed-by", &a]].concat()), expected);
    place.ok(&["unseal", "all.dotvm", "-o", "again.dotvm", "--key", "secret.key"]);
    assert_eq!(place.read("again.dotvm"), plain);

    // The key in the environment.
    let key = String::from_utf8(place.read("secret.key")).unwrap();
    let mut command = place.command(&["disasm", "all.dotvm"]);
    let shown = command.env("DOTVM_KEY", key.trim()).output().unwrap();
    assert!(shown.status.success());
    assert_eq!(shown.stdout, place.ok(&["disasm", "bank.dotvm"]).into_bytes());

    // The code in a store is the module's, however it came.
    let sealed = ["all.dotvm", "--key", "secret.key", "--db", "state.db", "--json"];
    let first = place.json(0, &[&["deploy"][..], &sealed].concat());
    let second = place.json(0, &["deploy", "bank.dotvm", "--db", "state.db", "--json"]);
    assert_eq!((&second["change"], &second["hash"]), (&"none".into(), &first["hash"]));
    let report = place.json(0, &["verify", "all.dotvm", "--key", "secret.key", "--json"]);
    assert_eq!((&report["signer"], &report["hash"]), (&a.into(), &first["hash"]));
}

#[test]
fn what_was_changed_or_is_not_trusted_is_refused_with_a_sentence() {
    let (place, a, b) = place();
    place.ok(&["seal", "bank.dotvm", "-o", "secret.dotvm", "--encrypt-with", "secret.key"]);
    place.ok(&["seal", "bank.dotvm", "-o", "signed.dotvm", "--sign-with", "a.key"]);
    let refused = |args: &[&str], words: &[&str]| place.fails(3, args, words);
    refused(
        &["run", "secret.dotvm"],
        &["secret.dotvm is refused", "encrypted under the key", "was not given"],
    );
    refused(&["run", "secret.dotvm", "--key", "other.key"], &["was not given"]);
    refused(
        &["run", "secret.dotvm", "--key", "a.key"],
        &["it is a dotvm-signing-key, not a dotvm-encryption-key"],
    );
    refused(&["run", "secret.dotvm", "--key", "none.key"], &["there is no file none.key"]);
    refused(&["run", "bank.dasm", "--key", "none.key"], &["there is no file none.key"]);
    for command in [&["run"][..], &["verify"], &["deploy", "--db", "state.db"]] {
        let on = |file: &'static str| [command, &[file, "--require-signed-by", &b]].concat();
        refused(&on("bank.dotvm"), &["bank.dotvm is refused: it is not signed, and a signature is required"]);
        refused(&on("bank.dasm"), &["it is not signed"]);
        refused(&on("signed.dotvm"), &["signed with the key", &a, "none of those required"]);
    }
    assert!(!place.path("state.db").exists(), "nothing is made before the module is trusted");
    place.ok(&["verify", "signed.dotvm", "--require-signed-by", &b, "--require-signed-by", &a]);

    let signed = place.read("signed.dotvm");
    for (at, sentence) in [
        (signed.len() - 1, "the signature is not one of this module under the key"),
        (signed.len() - 96, "the signature is not one of this module under the key"),
        (200, "the checksum does not match"),
        (10, "error: "),
        (90, "error: "),
    ] {
        let mut bad = signed.clone();
        bad[at] ^= 1;
        place.write("bad.dotvm", &bad);
        refused(&["run", "bad.dotvm", "--fn", "hello"], &["bad.dotvm is refused", sentence]);
    }
    place.write("bad.dotvm", &signed[..signed.len() - 1]);
    refused(&["verify", "bad.dotvm"], &["bytes, but its header says"]);
}

/// The signature of deployed code is kept with it and asked for when it is called, also by other contracts.
#[test]
fn contracts_are_called_only_if_they_are_signed_as_required() {
    let (place, a, b) = place();
    place.ok(&["seal", "bank.dotvm", "-o", "signed.dotvm", "--compress", "--sign-with", "a.key"]);
    let call = ["call", "bank", "hello", "--db", "state.db"];
    let by_a = [&call[..], &["--require-signed-by", a.as_str()]].concat();
    let by_b = [&call[..], &["--require-signed-by", b.as_str()]].concat();

    let plain = place.json(0, &["deploy", "bank.dotvm", "--name", "bank", "--db", "state.db", "--json"]);
    let expected = place.ok(&call);
    place.fails(3, &by_a, &["\"bank\" is not called: it is not signed, and a signature is required"]);
    // The same code, signed: the name has it already, and now its signature, too.
    let signed = place.json(0, &["deploy", "signed.dotvm", "--name", "bank", "--db", "state.db", "--json"]);
    assert_eq!((&signed["hash"], &signed["change"]), (&plain["hash"], &"none".into()));
    assert_eq!(place.ok(&by_a), expected);
    place.fails(3, &by_b, &["signed with the key", &a, "none of those required"]);
    assert_eq!(place.ok(&call), expected);
    // Without a signature again it stays signed, and the database finds nothing wrong.
    place.ok(&["deploy", "bank.dotvm", "--name", "bank", "--db", "state.db"]);
    assert_eq!(place.ok(&by_a), expected);
    place.ok(&["db", "check", "--db", "state.db"]);

    let log = [&by_a[..], &["--audit", "audit.log"]].concat();
    place.ok(&log);
    place.fails(3, &[&by_b[..], &["--audit", "audit.log"]].concat(), &["none of those required"]);
    place.fails(
        3,
        &["run", "bank.dotvm", "--fn", "hello", "--require-signed-by", &a, "--audit", "audit.log"],
        &["it is not signed"],
    );
    let log = String::from_utf8(place.read("audit.log")).unwrap();
    for line in [
        format!("\"event\":\"signature_trusted\",\"what\":\"bank\",\"signer\":\"{a}\""),
        format!(
            "\"event\":\"signature_refused\",\"what\":\"bank\",\"reason\":\"it was signed with the key {a}"
        ),
        "\"event\":\"signature_refused\",\"what\":\"bank.dotvm\",\"reason\":\"it is not signed".to_owned(),
    ] {
        assert_eq!(log.matches(&line).count(), 1, "{line} in {log}");
    }
}

#[test]
fn keys_are_never_replaced_and_nothing_is_sealed_for_nothing() {
    let (place, _, _) = place();
    let before = place.read("a.key");
    place.fails(2, &["keygen", "a.key"], &["a.key is there already, and a key is never replaced"]);
    assert_eq!(place.read("a.key"), before);
    place.fails(2, &["seal", "bank.dotvm", "-o", "x.dotvm"], &["nothing to do"]);
    place.write("bad.key", "dotvm-signing-key 12");
    place.fails(
        3,
        &["seal", "bank.dotvm", "-o", "x.dotvm", "--sign-with", "bad.key"],
        &["a key has 64 hexadecimal digits"],
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = place.path("a.key").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "a secret key is its owner's");
    }
}
