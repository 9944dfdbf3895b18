//! What a model is asked for, in its entry.

use super::*;

/// `proxy/health_check.py` of `LiteLLM` 1.108.7: what has no `mode` is asked for a chat.
#[test]
fn what_does_not_chat_has_a_mode_and_what_chats_keeps_its_own() {
    let of = |api| Entry { api, ..entry() };
    let put = |text: &str, api| upsert(&parse(text), &of(api), false).unwrap();
    for (api, model, mode) in [
        (Api::Completions, "openai/tiny", "completion"),
        (Api::Embeddings, "openai/tiny", "embedding"),
        (Api::Rerank, "hosted_vllm/tiny", "rerank"),
        (Api::Transcriptions, "openai/tiny", "audio_transcription"),
    ] {
        let text = put("", api);
        let mode = format!("  model_info:\n      mode: {mode}\n      goatbuild:\n");
        assert!(text.contains(&mode) && text.contains(&format!("    model: {model}\n")), "{text}");
        assert!(observe(&parse(&text), &of(api)).is_current());
        // One that was written without.
        assert_eq!(put(&put("", Api::Chat), api).matches("mode: ").count(), 1);
        let own = observe(&parse(&put("", Api::Chat)), &of(api)).own;
        assert!(matches!(own, Own::Present { differs, .. } if !differs.is_empty()));
        assert_eq!(remove(&parse(&text), "goat-1", "tiny").unwrap(), "model_list: []\n");
    }
    for api in [Api::Embeddings, Api::Rerank, Api::Transcriptions] {
        assert_eq!(put(&put("", api), Api::Chat), put("", Api::Chat), "{api:?}");
    }
    let chats = put("", Api::Chat);
    assert_eq!(chats, format!("model_list:\n{}", lines("  ")));
    let by_hand = chats.replace("      goatbuild:", "      mode: responses\n      goatbuild:");
    assert_eq!(put(&by_hand, Api::Chat), by_hand);
}
