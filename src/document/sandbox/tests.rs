use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use super::*;

const LIMITS: Limits = Limits {
    request_bytes: 400,
    pictures: 2,
    picture_bytes: 200,
    pdf_pages: 1,
};

/// A program cannot be started while it is open for writing, and a process that another test
/// starts just then has it open too.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What a program that does this instead of drawing comes to.
fn of(script: &str, cost: Cost) -> Result<Vec<Bytes>, Error> {
    let _alone = ONE_AT_A_TIME.lock();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("draws");
    let text = format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n");
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let sandbox = Sandbox {
        program: Some(program),
        cost,
    };
    sandbox.pictures(b"%PDF", &LIMITS)
}

fn refusal(script: &str, cost: Cost) -> Error {
    of(script, cost).unwrap_err()
}

#[test]
fn pictures_come_in_the_order_of_the_pages() {
    let pictures = of(
        "cat >/dev/null; printf '\\0\\0\\0\\002ab\\0\\0\\0\\001c'",
        COST,
    )
    .unwrap();
    assert_eq!(pictures, ["ab", "c"].map(Bytes::from));
}

#[test]
fn a_process_that_does_not_end_is_ended() {
    let cost = Cost {
        time: Duration::from_millis(100),
        ..COST
    };
    let began = Instant::now();
    let error = refusal("exec sleep 60", cost);
    assert_eq!(error.code, Code::DocumentTooComplex);
    assert!(error.detail.contains("longer than 0 seconds"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_process_that_takes_much_memory_is_ended() {
    let cost = Cost {
        memory: 64 << 10,
        ..COST
    };
    let error = refusal("exec sleep 60", cost);
    assert!(error.detail.contains("MiB of memory"), "{error}");
}

#[test]
fn a_process_that_fails_or_says_half_is_a_page_that_cannot_be_drawn() {
    for script in [
        "exit 3",
        "printf '\\0\\0\\0\\005ab'",
        "printf '\\0\\0'",
        "kill -9 $$",
    ] {
        let error = refusal(script, COST);
        assert_eq!(error.code, Code::DocumentCorrupt, "{script}: {error}");
    }
    let gone = Sandbox::of("/nowhere/at/all".into());
    let error = gone.pictures(b"%PDF", &LIMITS).unwrap_err();
    assert!(error.detail.contains("could not start"), "{error}");
}

#[test]
fn more_than_the_model_takes_is_not_read() {
    for script in [
        // One of 201 bytes; three; and as if a page had 4 GiB.
        "printf '\\0\\0\\0\\311'; head -c 201 /dev/zero",
        "for n in 1 2 3; do printf '\\0\\0\\0\\001a'; done",
        "printf '\\377\\377\\377\\377'; exec sleep 60",
    ] {
        let error = refusal(script, COST);
        assert!(
            error.detail.contains("more than the model takes"),
            "{script}: {error}"
        );
    }
}

#[test]
fn the_process_sees_no_variables_of_the_server() {
    // Cargo sets this one for tests.
    assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok());
    let script = "test -z \"$CARGO_MANIFEST_DIR\" && printf '\\0\\0\\0\\001a'";
    assert_eq!(of(script, COST).unwrap().len(), 1);
}
