use super::*;

fn models() -> Models {
    Models::known().unwrap()
}

fn close(cost: Option<f64>, dollars: f64) -> bool {
    cost.is_some_and(|cost| (cost - dollars).abs() < 1e-12)
}

const SOME: Tokens = Tokens {
    prompt: Some(1_000_000),
    cached: Some(400_000),
    cache_written: None,
    answer: Some(10_000),
    thoughts: Some(2_000),
};

#[test]
fn the_embedded_table_is_whole_and_every_name_tells_its_vendor() {
    let models = models();
    let mut count = 0;
    for vendor in Vendor::ALL {
        for name in models.names(vendor) {
            assert_eq!(vendor_of(name), Some(vendor), "{name}");
            let profile = models.of_vendor(vendor, name).unwrap();
            assert!(profile.price.is_some(), "{name}");
            assert!(profile.output_tokens <= profile.context_tokens, "{name}");
            count += 1;
        }
    }
    assert_eq!(count, models.said.len());
}

#[test]
fn cached_tokens_and_thoughts_have_their_price() {
    let cost = models().cost(Vendor::Gemini, "gemini-2.5-flash", &SOME);
    let dollars = 0.6 * 0.3 + 0.4 * 0.03 + 0.012 * 2.5;
    assert!(close(cost, dollars), "{cost:?}");
}

#[test]
fn a_long_prompt_has_the_price_of_long_prompts_for_all_its_tokens() {
    let at = |prompt| Tokens {
        prompt: Some(prompt),
        cached: None,
        ..SOME
    };
    let cost = |prompt| models().cost(Vendor::Gemini, "gemini-2.5-pro", &at(prompt));
    assert!(close(cost(200_000), 0.2 * 1.25 + 0.012 * 10.0));
    assert!(close(cost(200_001), 0.200_001 * 2.5 + 0.012 * 15.0));
}

#[test]
fn tokens_written_to_a_cache_cost_more() {
    let tokens = Tokens {
        prompt: Some(100_000),
        cached: Some(0),
        cache_written: Some(90_000),
        answer: Some(0),
        thoughts: None,
    };
    let cost = models().cost(Vendor::Anthropic, "claude-haiku-4-5", &tokens);
    assert!(close(cost, 0.01 * 1.0 + 0.09 * 1.25), "{cost:?}");
}

#[test]
fn no_price_is_made_up() {
    let models = models();
    assert_eq!(models.cost(Vendor::Gemini, "gemini-9-flash", &SOME), None);
    let partial = Tokens {
        answer: None,
        ..SOME
    };
    assert_eq!(
        models.cost(Vendor::Gemini, "gemini-2.5-flash", &partial),
        None
    );
    assert_eq!(
        models.of_server("local", "gpt-5").unwrap().cost(&SOME),
        None
    );
}

#[test]
fn a_dated_name_has_the_profile_of_the_name_and_a_longer_one_has_not() {
    let models = models();
    let price = |vendor, name: &str| models.of_vendor(vendor, name).unwrap().price;
    let gpt = price(Vendor::OpenAi, "gpt-5");
    assert!(gpt.is_some());
    assert_eq!(price(Vendor::OpenAi, "gpt-5-2025-08-07"), gpt);
    assert_eq!(price(Vendor::OpenAi, "gpt-5-huge"), None);
    assert_eq!(price(Vendor::OpenAi, "claude-opus-5"), None);
    let haiku = price(Vendor::Anthropic, "claude-haiku-4-5");
    assert_eq!(price(Vendor::Anthropic, "claude-haiku-4-5-20251001"), haiku);
    assert_eq!(price(Vendor::Anthropic, "claude-haiku-4"), None);
    let flash = price(Vendor::Gemini, "gemini-2.5-flash");
    assert_eq!(price(Vendor::Gemini, "gemini-2.5-flash-001"), flash);
}

#[test]
fn an_operator_changes_what_he_names_and_nothing_else() {
    let changes = r#"{
        "gemini-2.5-flash": {"price": {"prompt": 1, "answer": 2}},
        "local/qwen3": {"context_tokens": 4096, "output": "json"}
    }"#;
    let models = models().with(changes).unwrap();
    let flash = models
        .of_vendor(Vendor::Gemini, "gemini-2.5-flash")
        .unwrap();
    assert!(close(flash.cost(&SOME), 1.0 + 0.024));
    assert_eq!(flash.context_tokens, 1_048_576);
    let qwen = models.of_server("local", "qwen3").unwrap();
    assert_eq!((qwen.context_tokens, qwen.output), (4096, Output::Json));
    assert_eq!((qwen.vendor, qwen.seed), (Vendor::OpenAi, true));
    assert_eq!(
        models.of_server("other", "qwen3").unwrap().context_tokens,
        32_768
    );
}

#[test]
fn a_wrong_table_is_refused_with_the_model_and_the_reason() {
    for (changes, words) in [
        ("[]", vec!["JSON object"]),
        ("{\"m\": 1}", vec!["JSON object"]),
        (
            r#"{"gpt-5": {"price": {"prompt": -1, "answer": 2}}}"#,
            vec!["`gpt-5`", "-1 is no price"],
        ),
        (
            r#"{"gpt-5": {"price": {"prompt": 1}}}"#,
            vec!["`gpt-5`", "answer"],
        ),
        (
            r#"{"gpt-5": {"prize": 1}}"#,
            vec!["`gpt-5`", "prize", "context_tokens"],
        ),
        (
            r#"{"x/y": {"context_tokens": 0}}"#,
            vec!["`x/y`", "at least 1"],
        ),
        (
            r#"{"x/y": {"output": "yaml"}}"#,
            vec!["`x/y`", "yaml", "schema"],
        ),
    ] {
        let message = models().with(changes).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "{word}: {message}");
        }
    }
}

#[test]
fn what_a_model_ignores_is_told() {
    let ignores = |vendor, name| models().of_vendor(vendor, name).unwrap().ignores();
    assert!(ignores(Vendor::Gemini, "gemini-2.5-flash").is_empty());
    assert_eq!(
        ignores(Vendor::Anthropic, "claude-opus-5"),
        ["temperature", "seed"]
    );
    assert_eq!(ignores(Vendor::OpenAi, "gpt-4o"), ["enable_thinking"]);
}

#[test]
fn only_a_name_of_a_vendor_tells_the_vendor() {
    assert_eq!(vendor_of("o3-mini"), Some(Vendor::OpenAi));
    assert_eq!(vendor_of("local/gpt-oss"), None);
    assert_eq!(vendor_of("olmo"), None);
    assert_eq!(vendor_of("layout"), None);
}
