"""Functions that serve a class: their methods, and the one of them that is a web endpoint."""

from modal_proto import api_pb2


def web_of(function) -> tuple[str, api_pb2.WebhookConfig]:
    """What a function says of its web endpoint, and which method of its class that is."""
    if function.webhook_config.type or not function.is_class:
        return "", function.webhook_config
    for name, method in sorted(function.method_definitions.items()):
        if method.webhook_config.type:
            return name, method.webhook_config
    return "", function.webhook_config


def label_of(function) -> str:
    """What a function is called in an address, where nothing asks for another name."""
    method, _ = web_of(function)
    return f"{function.function_name.removesuffix('.*')}-{method}" if method else function.function_name


def handles(methods, app_id: str, web_url: str) -> dict[str, api_pb2.FunctionHandleMetadata]:
    """The handles of methods, by name."""
    return {
        name: api_pb2.FunctionHandleMetadata(
            function_name=method.function_name,
            function_type=method.function_type,
            app_id=app_id,
            is_method=True,
            use_method_name=name,
            web_url=web_url if method.webhook_config.type else "",
            function_schema=method.function_schema,
            supported_input_formats=method.supported_input_formats,
            supported_output_formats=method.supported_output_formats,
        )
        for name, method in methods.items()
    }
