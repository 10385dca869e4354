//! What holds for every text, every table and every request.

#![allow(clippy::unwrap_used, reason = "what can't be read must fail the test")]

mod support;

use std::collections::HashSet;
use std::sync::Arc;

use modelway_core::classify::READABLE;
use modelway_core::classify::sample::{SAMPLE_BYTES, Sample};
use modelway_core::model_set::ModelSet;
use modelway_core::request::estimate_tokens;
use modelway_core::select::select;
use modelway_core::{
    Classify, Locality, ModelCapability, ModelProfile, Request, RoutingTable, Settings, TaskClass,
};
use proptest::prelude::*;
use support::{cases, classifier, keywords, plain};

/// Texts of all scripts, of words that the classifier knows, and of what confuses parsers.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        proptest::sample::select(vec![
            "write",
            "a",
            "function",
            "def f(): pass",
            "```",
            "poem",
            "x^2 + 5x = 0",
            "함수 코드",
            "函数",
            "функцию",
            "e\u{301}",
            "\u{1112}\u{1161}\u{11AB}",
            "\u{202E}",
            "\u{0}",
            "calculate",
            "\n",
            "?",
            "1. ",
            "weather in",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.join(" "))
}

fn long_text() -> impl Strategy<Value = String> {
    (text(), 0_usize..3_000, text())
        .prop_map(|(head, middle, tail)| head + &"語 word ".repeat(middle) + &tail)
}

/// Models m0, m1, ... with random places and merits.
fn models() -> impl Strategy<Value = Vec<ModelProfile>> {
    let tasks = || proptest::sample::subsequence(TaskClass::ALL, 0..3);
    let place = prop_oneof![
        4 => Just(Locality::Device),
        1 => Just(Locality::Lan),
        1 => Just(Locality::External),
    ];
    let model = (tasks(), tasks(), place, any::<bool>(), any::<bool>(), proptest::option::of(1_u32..200));
    proptest::collection::vec(model, 1..8).prop_map(|merits| {
        let profile = |(index, (strong, weak, location, supports_tools, sees, max_context))| {
            let sight = if sees { Some(ModelCapability::VisionInput) } else { None };
            ModelProfile {
                strengths: FromIterator::from_iter::<Vec<TaskClass>>(strong),
                weaknesses: FromIterator::from_iter::<Vec<TaskClass>>(weak),
                capabilities: sight.into_iter().collect(),
                location,
                supports_tools,
                max_context,
                ..plain(&format!("m{index}"))
            }
        };
        merits.into_iter().enumerate().map(profile).collect()
    })
}

/// Tables without mistakes: a chain names only models that stand behind its own.
fn table() -> impl Strategy<Value = Arc<RoutingTable>> {
    let pick = || any::<proptest::sample::Index>();
    let by_task = (proptest::sample::select(TaskClass::ALL), pick(), proptest::collection::vec(pick(), 0..4));
    let by_model = (pick(), proptest::collection::vec(pick(), 0..4));
    (models(), proptest::collection::vec(by_task, 0..4), proptest::collection::vec(by_model, 0..4)).prop_map(
        |(models, by_task, by_model)| {
            let name = |index: usize| format!("m{index}");
            let count = models.len();
            let mut settings = Settings { models, keywords: keywords(), ..Settings::default() };
            for (task, first, links) in by_task {
                settings.defaults.push((task, name(first.index(count))));
                if !settings.fallbacks.iter().any(|(other, _)| other == task.short()) {
                    let links = links.iter().map(|link| name(link.index(count))).collect();
                    settings.fallbacks.push((task.short().to_owned(), links));
                }
            }
            for (start, links) in by_model {
                let start = start.index(count);
                if !settings.fallbacks.iter().any(|(other, _)| *other == name(start)) {
                    let behind = |link: &proptest::sample::Index| start + 1 + link.index(count);
                    let links = links.iter().map(behind).filter(|link| *link < count).map(name).collect();
                    settings.fallbacks.push((name(start), links));
                }
            }
            Arc::new(RoutingTable::build(settings).unwrap())
        },
    )
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_text_has_a_reading(text in prop_oneof![4 => text(), 1 => long_text()]) {
        let classifier = classifier();
        let reading = classifier.read(&text);
        let (explained, evidence) = classifier.explain(&text);
        prop_assert_eq!(reading, explained);
        prop_assert!(READABLE.contains(&reading.task));
        prop_assert!((reading.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        prop_assert!(reading.probabilities.iter().all(|probability| (0.0..=1.0).contains(probability)));
        prop_assert_eq!(reading.probabilities[TaskClass::Embedding.index()].to_bits(), 0);
        prop_assert!((0.0..=1.0).contains(&reading.complexity) && (0.0..=1.0).contains(&reading.margin()));
        let characters = text.chars().count();
        for found in &evidence {
            prop_assert!(found.start < found.end && found.end <= characters, "{:?}", found);
        }
        prop_assert!(evidence.is_sorted_by_key(|found| found.start), "evidence comes in the order of the text");
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_sample_is_the_text_or_its_two_ends(text in prop_oneof![text(), long_text()]) {
        let sample = Sample::of(&text);
        let [head, tail] = *sample.parts();
        prop_assert!(text.starts_with(head) && text.ends_with(tail));
        prop_assert_eq!(&text[sample.tail_at()..], tail);
        prop_assert!(sample.len() <= SAMPLE_BYTES);
        prop_assert!(sample.len() + 6 >= text.len().min(SAMPLE_BYTES), "no more is left out than half characters");
        prop_assert_eq!(sample.len() == text.len(), text.len() <= SAMPLE_BYTES);
        prop_assert!(estimate_tokens(&text) <= text.len() as u64);
    }

    #[test]
    fn a_model_set_is_a_set(members in proptest::collection::hash_set(0_u16..700, 0..40), room in 0_usize..800) {
        let mut set = ModelSet::none(room);
        for model in &members {
            set.insert(*model);
        }
        // Room comes in words of 64.
        let held = room.div_ceil(64) * 64;
        for model in 0..900_u16 {
            prop_assert_eq!(set.contains(model), members.contains(&model) && usize::from(model) < held);
        }
    }

    #[test]
    fn chains_hold_each_model_once_and_never_the_first(table in table()) {
        let names = TaskClass::ALL.iter().map(|task| task.short().to_owned());
        let models = table.models().iter().map(|model| model.model_id.clone());
        for name in names.chain(models) {
            let chain = table.fallback_chain(&name).unwrap();
            prop_assert_eq!(chain.iter().collect::<HashSet<_>>().len(), chain.len(), "{}", &name);
            prop_assert!(!chain.iter().any(|index| table.model(*index).model_id == name), "{}", &name);
        }
        for task in TaskClass::ALL.iter().copied() {
            let order: HashSet<u16> = table.order(task).iter().map(|(model, _)| *model).collect();
            prop_assert_eq!(order.len(), table.models().len(), "every model is a candidate, once");
        }
    }

    #[test]
    fn no_decision_breaks_a_hard_rule(
        table in table(),
        task in proptest::option::of(proptest::sample::select(READABLE.to_vec())),
        named in proptest::option::of(any::<proptest::sample::Index>()),
        has_tools in any::<bool>(),
        has_images in any::<bool>(),
        context_tokens in proptest::option::of(0_u64..250),
        down in proptest::collection::hash_set(0_u16..8, 0..4),
    ) {
        let count = table.models().len();
        let name = named.map(|index| table.models()[index.index(count)].model_id.clone());
        let mut unavailable = ModelSet::none(count);
        for model in &down {
            unavailable.insert(*model);
        }
        let request = Request {
            prompt: "write a function", task, model: name.as_deref(), has_tools, has_images, context_tokens,
        };
        let may_serve = |index: usize| {
            let model = &table.models()[index];
            model.location == Locality::Device
                && (!has_tools || model.supports_tools)
                && (!has_images || model.capabilities.contains(ModelCapability::VisionInput))
                && model.max_context.is_none_or(|most| u64::from(most) >= context_tokens.unwrap_or(4))
                && !down.contains(&(index as u16))
        };
        let able: HashSet<usize> = (0..count).filter(|index| may_serve(*index)).collect();
        match select(&table, &request, Some(Box::new(unavailable))) {
            Err(_) => prop_assert!(able.is_empty()),
            Ok(decision) => {
                let chosen = table.find(&decision.model().model_id).unwrap();
                let mut serving = vec![usize::from(chosen)];
                serving.extend(decision.chain().into_iter().map(usize::from));
                prop_assert_eq!(serving.len(), able.len());
                prop_assert_eq!(&serving.iter().copied().collect::<HashSet<_>>(), &able);
                let rejected: HashSet<usize> =
                    decision.rejected().into_iter().map(|(index, _)| usize::from(index)).collect();
                prop_assert_eq!(rejected.len(), count - able.len());
                prop_assert!(rejected.is_disjoint(&able));
                if let Some(named) = name.and_then(|name| table.find(&name)).filter(|at| able.contains(&usize::from(*at))) {
                    prop_assert_eq!(chosen, named);
                }
            }
        }
    }
}
