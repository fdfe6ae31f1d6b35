//! `pliant elastify tlm recall` and `order-lists`: the entries of lists, ranked, and how many stay
//! while there are shots.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use pliant::engine::EngineOptions;
use pliant::engine::session::Runtime;
use pliant::files::Lock;
use pliant::heads::score::list_order;
use pliant::heads::score::recall::{KEPT, Lists, Ranks};
use pliant::model::tlm::list_file::{self, ListOrder, ListOrders};
use pliant::model::tlm::score_head::{ScoreHead, folder};
use pliant::origin;
use pliant::prompt::compress::lists::Ranking;
use pliant::prompt::{Dataset, Item};
use pliant::{Error, Result, assets, files};

use super::bar::bar;
use super::base_model::BaseModelName;
use super::by_name;
use super::data_args::DataArgs;
use super::engine_args::EngineArgs;
use super::output::Form;

#[derive(Debug, clap::Args)]
struct WithLists {
    /// Datasets whose items choose from lists
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME,…",
        default_value = "api-calling,ui-automation"
    )]
    datasets: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct RecallArgs {
    #[command(flatten)]
    whose: BaseModelName,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    of: WithLists,
    /// How entries are ranked: mixed, encoder, overlap, mean, maximum
    #[arg(long, value_delimiter = ',', value_name = "NAME,…", value_parser = by_name::<Ranking>,
          default_value = "mixed,encoder,overlap,mean,maximum")]
    rankings: Vec<Ranking>,
    /// Whose lists: scored, train, validation
    #[arg(long, default_value = "scored", value_parser = by_name::<Lists>)]
    lists: Lists,
    /// Threads
    #[arg(long, default_value_t = 1, value_parser = super::threads)]
    threads: usize,
    /// Table to write as well
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
}

/// Print, and write if asked, a table of shares in percent.
pub fn run_recall(args: &RecallArgs, form: Form) -> Result<()> {
    let runtime = Runtime::load(&assets::main_file(assets::Package::OnnxRuntime)?, args.threads)?;
    let head = ScoreHead::open(&folder(&args.whose.base_model), runtime)?;
    let mut head = head.ranking_lists(ListOrders::default(), runtime)?;
    let data = args.data.paths();
    let columns = KEPT.map(|kept| format!("kept_{kept}_percent"));
    let mut lines = vec![format!("dataset,lists,ranking,{}", columns.join(","))];
    let mut rows = Vec::new();
    for name in &args.of.datasets {
        let dataset = data.load(name)?;
        let items = lists_of(&dataset, args.lists)?;
        let mut add = |ranking: &str, lists: usize, shares: [f64; KEPT.len()]| {
            let kept: BTreeMap<String, f64> =
                KEPT.iter().map(ToString::to_string).zip(shares).collect();
            rows.push(json!({
                "dataset": name, "lists": lists, "ranking": ranking, "share_by_kept": kept,
            }));
            let shares = shares.map(|share| format!("{:.1}", 100.0 * share));
            lines.push(format!("{name},{lists},{ranking},{}", shares.join(",")));
        };
        let mut chance = None;
        for &ranking in &args.rankings {
            let ranks = Ranks::measure(&mut head, &items, ranking)?;
            add(ranking.name(), ranks.lists(), KEPT.map(|kept| ranks.recall(kept)));
            chance = Some(ranks);
        }
        if let Some(ranks) = chance {
            add("chance", ranks.lists(), KEPT.map(|kept| ranks.chance(kept)));
        }
    }
    let table = lines.join("\n");
    if let Some(out) = &args.out {
        files::write_whole(out, format!("{table}\n").as_bytes())?;
    }
    form.one(&rows, table)
}

#[derive(Debug, clap::Args)]
pub struct OrderArgs {
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    of: WithLists,
    /// Items of the train part, per dataset
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u16).range(1..))]
    items: u16,
    /// Folder of the heads; default: the project's
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Learn how many entries stay while there are shots, dataset by dataset; what was tried on the
/// same items is not tried again.
pub fn run_order(args: &OrderArgs, form: Form) -> Result<()> {
    let mut model = args.engine.open("width", EngineOptions::default())?;
    let heads = folder(&model.identity().base_model);
    let out = args.out.clone().unwrap_or_else(|| heads.clone());
    let runtime = Runtime::loaded()?;
    let _lock = Lock::acquire(&out.join(list_file::LISTS_FILE), "the orders of lists")?;
    let mut orders = list_file::load(&out)?;
    let head = ScoreHead::open(&heads, runtime)?;
    let mut head = head.ranking_lists(ListOrders::default(), runtime)?;
    let data = args.data.paths();
    for name in &args.of.datasets {
        let dataset = data.load(name)?;
        let mut items = lists_of(&dataset, Lists::Train)?;
        items.truncate(usize::from(args.items));
        let ids: Vec<u32> = items.iter().map(|item| item.id).collect();
        let known = orders.datasets.remove(name);
        let known = known.filter(|o| o.items == ids && o.data_sha256 == dataset.sha256);
        let (tried, command) = if let Some(known) = known {
            (known.tried, known.command)
        } else {
            let bar = bar(name.clone(), "items", items.len() as u64);
            let mut report = || bar.inc(1);
            let tried = list_order::try_all(&mut model, &mut head, &dataset, &items, &mut report)?;
            bar.finish_and_clear();
            (tried, origin::command())
        };
        for row in &tried {
            let (kept, gold, right) = (row.kept, row.gold, 100.0 * row.right);
            form.text(format!("{name}, {kept} kept: ln p {gold:.4}, {right:.1} % right"))?;
        }
        let kept = list_order::best(&tried);
        let data_sha256 = dataset.sha256.clone();
        let order = ListOrder { kept, tried, items: ids, data_sha256, command };
        orders.datasets.insert(name.clone(), order);
        orders.save(&out)?;
    }
    form.json(&orders)
}

/// The items of `dataset` whose lists are meant, at least one.
fn lists_of(dataset: &Dataset, which: Lists) -> Result<Vec<&Item>> {
    let items = which.of(dataset);
    if items.is_empty() {
        return Err(Error::new(format!("dataset {}", dataset.name), "has no lists")
            .allowed(Dataset::agent_names().join(", ")));
    }
    Ok(items)
}
