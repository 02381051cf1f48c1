"""Azure OpenAI / AI Foundry Realtime: the OpenAI session core behind Azure's hosts, paths, credentials and errors.

`AzureService` is the vendor, sans I/O; `AzureServer` gives it sockets.
"""
