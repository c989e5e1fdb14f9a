//! What a drill leaves behind: each form of a real report read by a reader of others, the chain of reports, who is told.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use asof_tests::must::Must;
use serde_json::Value;

use crate::ground::{Ground, Ran};

const TREE: &str =
    "scenario = 'tree'\nwhat.paths = ['ROOT']\noracle = { witness = ['WITNESS'], live = false }\n";

/// What `tests/reports/check.py` finds in a file of a form. Debian's own Python comes first, since its packages belong to it.
#[track_caller]
fn read(form: &str, file: &Path) -> Value {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let debian = Path::new("/usr/bin/python3");
    let mut command = Command::new(if debian.exists() { debian } else { Path::new("python3") });
    command.arg("-B").arg(tests.join("reports/check.py")).arg(form);
    if form == "json" {
        command.arg(tests.join("../packaging/drills/report.schema.json"));
    }
    let output = command.arg(file).output().must("python3");
    assert!(output.status.success(), "{form}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).must(form)
}

/// Runs a drill with every form of its report, holds it to an exit status, and gives the files.
#[track_caller]
fn run(ground: &Ground, text: &str, status: i32) -> (Ran, impl Fn(&str) -> PathBuf) {
    let dir = ground.site.fresh("reports");
    fs::create_dir(&dir).must("reports");
    let file = move |ending: &str| dir.join(format!("r.{ending}"));
    let mut drill = ground.drill(text);
    for (option, ending) in [
        ("--report", "json"),
        ("--junit", "xml"),
        ("--prometheus", "prom"),
        ("--markdown", "md"),
        ("--html", "html"),
    ] {
        drill = drill.with_word(option).with_word(file(ending));
    }
    (ground.end(drill, status), file)
}

#[track_caller]
fn history(ground: &Ground, status: i32) -> (Vec<Value>, String) {
    let state = ground.site.path("state");
    let words = ["--json", "drill", "history", "--state", state.to_str().must("UTF-8")];
    let output = ground.site.asof(words).exits(status);
    (output.json_lines(), output.stderr)
}

/// The file of a report that is kept.
fn kept(ground: &Ground, number: u32) -> PathBuf {
    let journals = fs::read_dir(ground.site.path("state")).must("state");
    let journal = journals.flatten().map(|entry| entry.path()).find(|path| path.is_dir()).must("a journal");
    journal.join(format!("reports/{number:08}.json"))
}

#[test]
fn every_form_of_a_real_report_is_read_by_others_and_says_how_it_ended() {
    let ground = Ground::new();
    ground.witness();
    let rto = "targets.rto = '1ms'\n[[assert]]\nkind = 'content'\n[[assert]]\nkind = 'rto'\n";
    let none = TREE.replace("WITNESS", "WITNESS/none");
    for (number, text, status, outcome, junit) in [
        (1, TREE.to_owned(), 0, "pass", "pass"),
        (2, format!("{TREE}{rto}"), 4, "fail", "failure"),
        (3, none, 3, "inconclusive", "error"),
    ] {
        let (ran, file) = run(&ground, &text, status);
        assert_eq!(ran.report["outcome"], outcome);
        assert_eq!(read("json", &file("json"))["outcome"], outcome);
        let written: Value = serde_json::from_slice(&fs::read(file("json")).must("json")).must("json");
        assert_eq!(written, ran.report);
        assert_eq!(fs::read(file("json")).must("json"), fs::read(kept(&ground, number)).must("kept"));

        let cases = read("junit", &file("xml"))["cases"].as_array().must("cases").clone();
        let ended: Vec<&str> = cases.iter().filter_map(|case| case["ended"].as_str()).collect();
        assert_eq!(ended.iter().any(|ended| *ended != "pass"), outcome != "pass", "{ended:?}");
        assert!(ended.contains(&junit), "{ended:?}");

        let metrics = read("prometheus", &file("prom"))["metrics"].clone();
        let now = metrics["asof_drill_outcome"].as_array().must("outcome");
        let one = now.iter().find(|sample| sample["value"] == 1.0).must("one of them");
        assert_eq!(one["labels"]["outcome"], outcome);
        // The first one passed, and is remembered by those after it.
        assert!(
            metrics["asof_drill_last_success_timestamp_seconds"][0]["value"].as_f64().must("a time") > 1e9
        );

        let page = read("html", &file("html"));
        let verdict = ["Passed", "Failed", "Inconclusive"][number as usize - 1];
        assert!(page["title"].as_str().must("title").starts_with(verdict), "{page}");
        let markdown = fs::read_to_string(file("md")).must("md");
        assert!(markdown.starts_with(&format!("# {verdict}: drill")), "{markdown}");
    }
    let (lines, _) = history(&ground, 0);
    let outcomes: Vec<_> = lines.iter().map(|line| line["outcome"].as_str().must("outcome")).collect();
    assert_eq!(outcomes, ["inconclusive", "fail", "pass"]);
    assert_eq!(lines[0]["previous_hash"], lines[1]["hash"]);
    assert_eq!(lines[1]["previous_hash"], lines[2]["hash"]);
}

#[test]
fn a_report_that_was_edited_or_removed_is_noticed_by_whoever_looks_at_history() {
    let ground = Ground::new().without_agent_after(|ground| {
        ground.witness();
    });
    for _ in 0..3 {
        ground.run(TREE, 0);
    }
    assert_eq!(history(&ground, 0).0.len(), 3);
    let second = kept(&ground, 2);
    let good = fs::read_to_string(&second).must("a report");
    fs::write(&second, good.replace("\"pass\"", "\"fail\"")).must("edit");
    let (lines, stderr) = history(&ground, 4);
    assert!(lines.iter().any(|line| line["broken_at"] == 2), "{lines:?}");
    assert!(stderr.contains("the chain of reports is broken in 1 place"), "{stderr}");
    fs::remove_file(&second).must("remove");
    let (lines, _) = history(&ground, 4);
    assert!(lines.iter().any(|line| line["what"] == "report 2 is gone"), "{lines:?}");
    // The next drill neither hides it nor stumbles over it, and its page says so.
    let (ran, file) = run(&ground, TREE, 0);
    assert_eq!(ran.report["chain"]["number"], 4);
    let page = read("html", &file("html"));
    assert!(page["text"].as_str().must("text").contains("Report 2 is gone"), "{page}");
    assert_eq!(read("prometheus", &file("prom"))["metrics"]["asof_drill_chain_breaks"][0]["value"], 1.0);
    fs::write(&second, good).must("back");
    assert_eq!(history(&ground, 0).0.len(), 4);
}

#[test]
fn hooks_are_told_and_a_monitor_that_is_not_there_fails_nothing() {
    let ground = Ground::new().without_agent_after(|ground| {
        ground.witness();
    });
    let heard = ground.site.path("heard");
    let shown = heard.display();
    // A port that was free a moment ago, and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").must("a port").local_addr().must("a port");
    let hooks = format!(
        "[hooks]\nstart = [['sh', '-c', 'echo $ASOF_DRILL_EVENT >> {shown}'], 'http://{free}/secret']\n\
         success = [['sh', '-c', 'echo $ASOF_DRILL_EVENT $ASOF_DRILL_OUTCOME >> {shown}']]\n\
         failure = [['sh', '-c', 'echo $ASOF_DRILL_EVENT $ASOF_DRILL_OUTCOME >> {shown}; exit 9']]\n"
    );
    let ran = ground.run(&format!("{TREE}{hooks}"), 0);
    assert_eq!(fs::read_to_string(&heard).must("heard"), "start\nsuccess pass\n");
    let warnings = ran.report["warnings"].to_string();
    assert!(warnings.contains(&format!("could not be told to http://{free}/...")), "{warnings}");
    assert!(ran.output.stderr.contains("could not be told"), "{}", ran.output.stderr);
    assert!(!ran.report.to_string().contains("secret"));
    let ran = ground.run(&format!("{}{hooks}", TREE.replace("WITNESS", "WITNESS/none")), 3);
    assert!(fs::read_to_string(&heard).must("heard").ends_with("start\nfailure inconclusive\n"));
    assert!(ran.report["warnings"].to_string().contains("status 9"), "{}", ran.report["warnings"]);
}

/// A certificate for `localhost`, its key, and the authority that vouches for it.
fn certificate(dir: &Path) -> [PathBuf; 3] {
    let script = "set -e
        new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=authority -days 2
        openssl req -new $new -keyout leaf.key -out leaf.csr -subj /CN=localhost
        printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > extensions
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions -out leaf.pem -days 2";
    let output = Command::new("sh").args(["-c", script]).current_dir(dir).output().must("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ["leaf.pem", "leaf.key", "ca.pem"].map(|name| dir.join(name))
}

#[test]
fn a_monitor_with_https_is_told_where_the_system_trusts_it_and_only_there() {
    let ground = Ground::new().without_agent_after(|ground| {
        ground.witness();
    });
    let [leaf, key, authority] = certificate(&ground.scratch());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/monitor.py");
    let mut monitor = Command::new("python3")
        .arg("-B")
        .args([script.as_path(), &leaf, &key, Path::new("2")])
        .stdout(Stdio::piped())
        .spawn()
        .must("python3");
    let mut said = BufReader::new(monitor.stdout.take().must("stdout")).lines().map_while(Result::ok);
    let port = said.next().must("a port");
    let vouched = ground.site.path("authority.pem");
    fs::copy(&authority, &vouched).must("copy");
    for entry in fs::read_dir(ground.scratch()).must("scratch").flatten() {
        fs::remove_file(entry.path()).must("scratch");
    }
    let text = format!("{TREE}hooks.start = ['https://localhost:{port}/ping/one']\n");
    let ran = ground.run(&text, 0);
    assert!(
        ran.report["warnings"].to_string().contains("invalid peer certificate"),
        "{}",
        ran.report["warnings"]
    );
    let ran = ground.end(ground.drill(&text).with_variable("SSL_CERT_FILE", &vouched), 0);
    assert_eq!(
        (&ran.report["hooks"][0]["done"], &ran.report["hooks"][0]["message"]),
        (&true.into(), &"HTTP 200".into())
    );
    assert_eq!(said.collect::<Vec<_>>(), ["refused", "GET /ping/one HTTP/1.1"]);
    monitor.wait().must("monitor");
}

#[test]
fn the_list_says_how_each_drill_ended_last() {
    let ground = Ground::new().without_agent_after(|ground| {
        ground.witness();
    });
    ground.end(ground.named_drill("weekly", &format!("{TREE}[[assert]]\nkind = 'content'\n")), 0);
    let dir = ground.site.fresh("drills");
    fs::create_dir(&dir).must("drills");
    fs::copy(ground.site.path("weekly.toml"), dir.join("weekly.toml")).must("copy");
    fs::write(dir.join("never.toml"), TREE.replace("ROOT", &ground.root())).must("write");
    let state = ground.site.path("state");
    let words = |json: bool| {
        let mut words =
            vec!["drill", "list", dir.to_str().must("UTF-8"), "--state", state.to_str().must("UTF-8")];
        if json {
            words.insert(0, "--json");
        }
        ground.site.asof(words)
    };
    let lines = words(true).exits(0).json_lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!((&lines[0]["drill"], &lines[0]["last"]), (&"never".into(), &Value::Null));
    assert_eq!((&lines[1]["drill"], &lines[1]["last"]["outcome"]), (&"weekly".into(), &"pass".into()));
    assert!(lines[1]["last"]["age_seconds"].as_i64().must("age") >= 0);
    let text = words(false).exits(0).text();
    assert!(text.contains("never run") && text.contains("pass"), "{text}");
    fs::write(dir.join("broken.toml"), "scenario = 'nothing'").must("write");
    fs::remove_file(dir.join("weekly.toml")).must("remove");
    let output = words(false).exits(3);
    assert!(
        output.stderr.contains("broken.toml") && output.text().contains("(run from elsewhere)"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_report_that_could_not_be_written_is_said_before_the_drill() {
    let ground = Ground::new().without_agent_after(|ground| {
        ground.witness();
    });
    let inside = ground.site.journal.join("page.html");
    let ran = ground.end(ground.drill(TREE).with_word("--html").with_word(&inside), 2);
    assert!(ran.output.stderr.contains("may not go into the journal"), "{}", ran.output.stderr);
    assert!(!inside.exists() && !ground.site.path("state").exists());
}
