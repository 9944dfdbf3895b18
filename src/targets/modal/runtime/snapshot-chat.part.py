        message = {"role": "user", "content": "Hello"}
        question = {"model": MODEL["served_name"], "messages": [message], "max_tokens": 16}
        for _ in range(2):
            self.ask("/v1/chat/completions", question)
