use crate::input::Input;
use crate::profile::import::{Facts, Format, ImportSpec, Only, import};
use crate::profile::{DeviceProfile, SubModels};
use crate::units::Level;

const HEADER: &str = "family,level,phase,tokens,repetition,ms\n";

/// Saves a device of these samples into `root/name`.
fn device(root: &std::path::Path, name: &str, model: &str, samples: &str, like: Option<&str>) {
    let facts = ["cpu=C", "runtime=R", "precision=P", "weight-bytes=1000"];
    let facts: Vec<_> =
        facts.iter().map(|&it| it.to_owned()).chain([format!("base-model={model}")]).collect();
    let facts: Vec<_> = facts.iter().map(|it| it.parse().unwrap()).collect();
    let sub_models =
        like.map(|like| SubModels { like: like.to_owned(), base_model: "big".to_owned() });
    let spec = ImportSpec {
        format: Format::Samples,
        name: name.to_owned(),
        only: Only::default(),
        facts: Facts::of(&facts).unwrap(),
        shape: None,
        sub_models,
    };
    let input = [Input::of("samples.csv", format!("{HEADER}{samples}"))];
    import(&input, &spec, None).unwrap().profile.save(&root.join(name)).unwrap();
}

/// Levels 20 and 50 % of two families; a switch of `zoo` moves its 500 or 1000 bytes in 10 or 20 ms.
const LIKE: &str = "\
    width,20,prefill,512,0,20\nwidth,20,decode,256,0,4\n\
    width,50,prefill,512,0,50\nwidth,50,decode,256,0,6\n\
    width,100,prefill,512,0,100\nwidth,100,decode,256,0,10\n\
    zoo,50,prefill,512,0,50\nzoo,50,decode,256,0,5\nzoo,50,switch,100,0,10\n\
    zoo,100,prefill,512,0,100\nzoo,100,decode,256,0,10\nzoo,100,switch,50,0,20\n";

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-6
}

#[test]
fn one_published_model_gets_the_shares_of_the_other_device() {
    let root = tempfile::tempdir().unwrap();
    device(root.path(), "like", "big", LIKE, None);
    let one = "width,100,prefill,512,0,1000\nwidth,100,decode,256,0,30\n";
    device(root.path(), "phone", "small", one, Some("like"));
    let phone = DeviceProfile::load(&root.path().join("phone")).unwrap();
    let level = |family: &str, percent| {
        phone.family("small", family).unwrap().level(Level::percent(percent)).unwrap().clone()
    };
    assert!(close(level("width", 20).ttft_ms.millis(512), 200.0));
    assert!(close(level("width", 20).tpot_ms.millis(256), 12.0));
    assert!(close(level("width", 100).ttft_ms.millis(512), 1000.0));
    assert!(close(level("zoo", 50).tpot_ms.millis(256), 15.0));
    assert!(close(level("zoo", 50).switch_ms, 10.0), "the weights are as large");
    let label = |family| phone.family("small", family).unwrap().provenance.label();
    assert_eq!((label("width"), label("zoo")), ("modelled", "modelled"));
    assert_eq!(level("width", 100).points.len(), 7, "what was published stays as it was");
}

#[test]
fn between_published_slices_runs_a_straight_line_and_below_them_there_is_nothing() {
    let root = tempfile::tempdir().unwrap();
    device(root.path(), "like", "big", LIKE, None);
    // Slices of 40 and 100 %: half of the family lies a sixth of the way up.
    let slices = "width,40,prefill,512,0,400\nwidth,40,decode,256,0,18\n\
        width,100,prefill,512,0,1000\nwidth,100,decode,256,0,30\n";
    device(root.path(), "phone", "small", slices, Some("like"));
    let phone = DeviceProfile::load(&root.path().join("phone")).unwrap();
    let width = phone.family("small", "width").unwrap();
    let levels: Vec<_> = width.levels.iter().map(|it| it.level.as_percent()).collect();
    assert_eq!(levels, [40, 50, 100], "20 % is below the smallest slice");
    assert!(close(width.level(Level::percent(50)).unwrap().ttft_ms.millis(512), 500.0));
    // Decoding at level 50 % takes 0.6 of the whole: a third of the way from 0.4.
    assert!(close(width.level(Level::percent(50)).unwrap().tpot_ms.millis(256), 22.0));
}

#[test]
fn a_device_whose_sub_models_are_anothers_lends_none() {
    let root = tempfile::tempdir().unwrap();
    device(root.path(), "like", "big", LIKE, None);
    let one = "width,100,prefill,512,0,1000\nwidth,100,decode,256,0,30\n";
    device(root.path(), "middle", "big", one, Some("like"));
    device(root.path(), "phone", "small", one, Some("middle"));
    let refused = DeviceProfile::load(&root.path().join("phone")).unwrap_err().to_string();
    assert_eq!(
        refused,
        "device profile middle, sub_models of phone: is modelled itself; found sub_models like \
         like; allowed: a device with families of its own"
    );
}
