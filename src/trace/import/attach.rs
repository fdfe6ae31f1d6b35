//! The rule by which imported calls get their app, objective and prompt.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::super::apps::{App, Apps, LevelOrder, StandIn};
use super::super::synth::{ItemPool, PooledItem, at_hand, pools_of, stand_ins};
use super::{ImportSpec, Request, SimTime, Slo, Trace, Warning};
use crate::error::{Error, Result};
use crate::rng::stream;

/// How an imported call finds its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ItemRule {
    /// Evenly one of the items nearest in length, over all datasets (of two at one distance the
    /// shorter is nearer). The app is drawn among those that draw from the item's dataset, by their
    /// shares of its requests in the mix.
    NearestLength {
        /// How many items are near.
        neighbours: u32,
    },
    /// The app is drawn by its share in the mix, the item evenly from the app's
    /// datasets. The file's prompt lengths do not count.
    AppMix {},
}

impl Default for ItemRule {
    fn default() -> Self {
        Self::NearestLength { neighbours: 10 }
    }
}

/// What was drawn for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    /// Index of the apps.
    pub app: usize,
    /// Index of the pools.
    pool: usize,
    pub item: PooledItem,
}

/// Draws apps and items, each from a random stream of its own.
#[derive(Debug)]
pub(super) struct Drawer<'a> {
    pools: &'a [ItemPool],
    who: &'a Apps,
    alpha: f64,
    level_order: LevelOrder,
    seed: u64,
    /// All items by length, then pool, then place.
    by_length: Vec<(usize, PooledItem)>,
    /// By pool: how often each app asks for its items, as far as apps go; nobody: empty.
    askers: Vec<Vec<f64>>,
    /// Shares of the apps in the mix.
    weights: Vec<f64>,
    apps: ChaCha8Rng,
    items: ChaCha8Rng,
}

impl<'a> Drawer<'a> {
    pub fn new(spec: &'a ImportSpec, pools: &'a [ItemPool]) -> Result<Self> {
        let of_pool = |(index, pool): (usize, &ItemPool)| {
            pool.items.iter().map(move |&item| (index, item)).collect::<Vec<_>>()
        };
        // Where an app's own dataset is at hand, nobody draws from its stand-in.
        let at_hand = at_hand(pools);
        let wanted = |pool: &ItemPool| {
            let draws = |app: &App| app.drawn_from(&at_hand).contains(&pool.dataset.as_str());
            spec.apps.all().iter().any(draws)
        };
        let pools_drawn = pools.iter().enumerate().filter(|(_, pool)| wanted(pool));
        let mut by_length: Vec<_> = pools_drawn.flat_map(of_pool).collect();
        by_length.sort_by_key(|(_, item)| item.prompt_tokens);
        if by_length.is_empty() {
            return Err(Error::new("item pools", "no items").allowed("one or more"));
        }
        let weights = spec.apps.weights(spec.level_order, spec.alpha);
        let askers = |pool: &ItemPool| askers(&spec.apps, &weights, &pool.dataset, &at_hand);
        let askers = pools.iter().map(askers).collect();
        Ok(Self {
            pools,
            who: &spec.apps,
            alpha: spec.alpha,
            level_order: spec.level_order,
            seed: spec.seed,
            by_length,
            askers,
            weights,
            apps: stream(spec.seed, "import/apps"),
            items: stream(spec.seed, "import/items"),
        })
    }

    /// App and item of a call with a prompt of `prompt_tokens`.
    pub fn draw(&mut self, rule: ItemRule, prompt_tokens: u32) -> Result<Drawn> {
        match rule {
            ItemRule::NearestLength { neighbours } => {
                let near = near(&self.by_length, prompt_tokens, neighbours as usize);
                let (pool, item) = near[self.items.random_range(0..near.len())];
                Ok(Drawn { app: self.app_of(pool)?, pool, item })
            }
            ItemRule::AppMix {} => {
                let app = pick(&self.weights, &mut self.apps);
                self.item_of(app)
            }
        }
    }

    /// An item for a call of `app`, as a synthesised trace draws it.
    pub fn item_of(&mut self, app: usize) -> Result<Drawn> {
        let from = pools_of(&self.who.all()[app], self.pools)?;
        let pool = from[self.items.random_range(0..from.len())];
        let item = pool.items[self.items.random_range(0..pool.items.len())];
        let place = self.pools.iter().position(|other| std::ptr::eq(other, pool));
        Ok(Drawn { app, pool: place.expect("it is one of the pools"), item })
    }

    /// The app of a call whose item is of `pool`.
    fn app_of(&mut self, pool: usize) -> Result<usize> {
        let weights = &self.askers[pool];
        if weights.is_empty() {
            let error = Error::new("item pools", "no app draws from the dataset");
            return Err(error.found(&self.pools[pool].dataset));
        }
        Ok(pick(weights, &mut self.apps))
    }

    /// Appends the request that `drawn` makes.
    pub fn push(
        &self,
        trace: &mut Trace,
        id: u64,
        arrival: SimTime,
        drawn: Drawn,
        output_tokens: u32,
        slo: Slo,
    ) {
        let app = &self.who.all()[drawn.app];
        let request = Request {
            id,
            arrival,
            app: trace.app_id(&app.name).expect("apps are few"),
            dataset: trace.dataset_id(&self.pools[drawn.pool].dataset).expect("pools are few"),
            item: drawn.item.item,
            prompt_tokens: drawn.item.prompt_tokens,
            output_tokens,
            slo,
            terms: app.terms(),
        };
        trace.requests.push(request);
    }

    pub fn longest_item(&self) -> u32 {
        self.by_length.last().map_or(0, |(_, item)| item.prompt_tokens)
    }

    /// What a trace's header says of `rule`.
    pub fn provenance(&self, rule: ItemRule) -> Vec<String> {
        let (alpha, order, seed) = (self.alpha, self.level_order.name(), self.seed);
        let mix = format!("alpha {alpha}, level order {order}, seed {seed}");
        match rule {
            ItemRule::NearestLength { neighbours } => vec![
                format!(
                    "items: evenly one of the {neighbours} nearest in length; the prompt's length \
                     is the item's"
                ),
                format!(
                    "apps and objectives: of those that draw from the item's dataset, by their \
                     share of its requests; {mix}"
                ),
            ],
            ItemRule::AppMix {} => {
                let items = format!(
                    "items: evenly from the app's datasets, the prompt's length is the item's; \
                     apps and objectives: those of the file, or by their share; {mix}"
                );
                let stand_ins = stand_ins(self.who, self.pools);
                std::iter::once(items).chain(stand_ins.iter().map(StandIn::to_string)).collect()
            }
        }
    }
}

/// How often each of `apps`, of these shares in the mix, asks for an item of `dataset`; empty if
/// none does.
fn askers(apps: &Apps, weights: &[f64], dataset: &str, at_hand: &[&str]) -> Vec<f64> {
    let of_app = |(app, weight): (&App, &f64)| {
        let drawn_from = app.drawn_from(at_hand);
        let share = (drawn_from.len() as f64).recip();
        weight * if drawn_from.contains(&dataset) { share } else { 0.0 }
    };
    let mut shares: Vec<f64> = apps.all().iter().zip(weights).map(of_app).collect();
    if shares.iter().all(|&share| share == 0.0) {
        shares.clear();
    }
    shares
}

/// The `count` items nearest to `tokens` in `by_length`; of two at one distance the shorter.
fn near(by_length: &[(usize, PooledItem)], tokens: u32, count: usize) -> &[(usize, PooledItem)] {
    let length = |index: usize| by_length[index].1.prompt_tokens;
    let start = by_length.partition_point(|(_, item)| item.prompt_tokens < tokens);
    let (mut from, mut to) = (start, start);
    while to - from < count.min(by_length.len()) {
        let left =
            from > 0 && (to == by_length.len() || tokens - length(from - 1) <= length(to) - tokens);
        if left {
            from -= 1;
        } else {
            to += 1;
        }
    }
    &by_length[from..to]
}

/// An index drawn with the probability of its weight.
fn pick(weights: &[f64], rng: &mut ChaCha8Rng) -> usize {
    let mut rest = rng.random::<f64>() * weights.iter().sum::<f64>();
    let positive = || weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0);
    for (index, &weight) in positive() {
        if rest < weight {
            return index;
        }
        rest -= weight;
    }
    positive().next_back().expect("one weight is positive").0
}

/// How far drawn prompts are from those of the file.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    of: u64,
    other: u64,
    longest_asked: u32,
}

impl Lengths {
    pub fn note(&mut self, asked: u32, drawn: u32) {
        self.of += 1;
        self.other += u64::from(u64::from(asked.abs_diff(drawn)) * 10 > u64::from(asked));
        self.longest_asked = self.longest_asked.max(asked);
    }

    pub fn warning(self, longest_item: u32) -> Option<Warning> {
        let Self { of, other: requests, longest_asked } = self;
        let warning = Warning::PromptsOfOtherLength { requests, of, longest_asked, longest_item };
        (requests > 0).then_some(warning)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::testing::pools;
    use super::*;

    fn spec(alpha: f64) -> ImportSpec {
        ImportSpec { alpha, ..ImportSpec::new(Format::Azure) }
    }

    /// Items of 100, 110, 110, 130 and 200 tokens.
    #[test]
    fn near_items_are_those_at_the_smallest_distance() {
        let items: Vec<_> = (0..)
            .zip([100, 110, 110, 130, 200])
            .map(|(item, prompt_tokens)| (0, PooledItem { item: u32::into(item), prompt_tokens }))
            .collect();
        let near = |tokens, count| -> Vec<_> {
            near(&items, tokens, count).iter().map(|(_, item)| item.item).collect()
        };
        assert_eq!(near(110, 2), [1, 2]);
        assert_eq!(near(120, 1), [2], "of two at one distance the shorter");
        assert_eq!(near(120, 3), [1, 2, 3]);
        assert_eq!(near(9999, 1), [4]);
        assert_eq!(near(1, 2), [0, 1]);
        assert_eq!(near(150, 99), [0, 1, 2, 3, 4]);
    }

    /// Of items of arc-easy, GMail's are 1 share and Octopus' and Shortcuts' 1/4 each without
    /// skew: 2/3, 1/6, 1/6. 6000 draws have a standard error of 6.1 ‰ of the first.
    #[test]
    fn apps_follow_their_shares_of_the_dataset() {
        let pools = pools();
        let spec = spec(0.0);
        let mut drawer = Drawer::new(&spec, &pools).unwrap();
        let rule = ItemRule::NearestLength { neighbours: 1 };
        let mut counts = [0; 6];
        for _ in 0..6000 {
            let drawn = drawer.draw(rule, 104).unwrap();
            assert_eq!((drawn.pool, drawn.item.prompt_tokens), (0, 104));
            counts[drawn.app] += 1;
        }
        assert_eq!(counts[0] + counts[4] + counts[5], 0);
        let share = f64::from(counts[1]) / 6000.0;
        assert!((share - 2.0 / 3.0).abs() < 3.0 * 0.0061, "{share}");
    }

    /// Under a steep skew the heaviest level takes nearly all.
    #[test]
    fn the_app_mix_follows_the_skew_and_ignores_lengths() {
        let pools = pools();
        let spec = spec(50.0);
        let mut drawer = Drawer::new(&spec, &pools).unwrap();
        for _ in 0..50 {
            let drawn = drawer.draw(ItemRule::AppMix {}, 1).unwrap();
            assert_eq!(
                (&*spec.apps.all()[drawn.app].name, &*pools[drawn.pool].dataset),
                ("Rewind", "openbookqa")
            );
        }
        let said = drawer.provenance(ItemRule::AppMix {});
        assert!(said[1].starts_with("Octopus draws from arc-easy, openbookqa, "), "{said:?}");
        assert_eq!(said.len(), 3, "and Shortcuts");
    }

    #[test]
    fn nobody_draws_from_a_stand_in_beside_what_it_stands_for() {
        let mut pools = pools();
        let agents = [("api-calling", 1), ("api-calling-live", 5000), ("ui-automation", 4000)];
        for (dataset, prompt_tokens) in agents {
            let items = vec![PooledItem { item: 7.into(), prompt_tokens }];
            pools.push(ItemPool { dataset: dataset.to_owned(), items });
        }
        let spec = spec(0.0);
        let mut drawer = Drawer::new(&spec, &pools).unwrap();
        let drawn = drawer.draw(ItemRule::NearestLength { neighbours: 1 }, 5000).unwrap();
        assert_eq!(
            (&*pools[drawn.pool].dataset, &*spec.apps.all()[drawn.app].name),
            ("ui-automation", "Shortcuts")
        );
    }

    #[test]
    fn no_items_is_an_error() {
        let spec = ImportSpec::new(Format::Azure);
        assert!(Drawer::new(&spec, &[]).unwrap_err().to_string().contains("no items"));
    }

    #[test]
    fn a_tenth_is_still_near_and_more_is_warned_of() {
        let mut lengths = Lengths::default();
        lengths.note(100, 110);
        assert!(Lengths { ..lengths }.warning(200).is_none());
        let mut lengths = Lengths::default();
        lengths.note(100, 111);
        lengths.note(300, 300);
        assert_eq!(
            lengths.warning(400),
            Some(Warning::PromptsOfOtherLength {
                requests: 1,
                of: 2,
                longest_asked: 300,
                longest_item: 400
            })
        );
    }
}
