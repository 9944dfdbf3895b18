        question = MODEL["question"]
        body = question["begin"].encode("latin-1") + bytes(question["zeros"])
        for _ in range(2):
            request = urllib.request.Request(
                f"{root}/v1/{question['path']}",
                body + question["end"].encode(),
                {"Content-Type": question["type"]},
            )
            urllib.request.urlopen(request, timeout=600).read()
