        message = {"role": "user", "content": "Hello"}
        question = {
            "model": MODEL["served_name"],
            "messages": [message],
            "max_tokens": 16,
        }
        for _ in range(2):
            request = urllib.request.Request(
                f"{root}/v1/chat/completions",
                json.dumps(question).encode(),
                {"Content-Type": "application/json"},
            )
            urllib.request.urlopen(request, timeout=600).read()
