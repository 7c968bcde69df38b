"""SkyWalking's messages under an import root of their own; made by ``make protos``.

``_pool`` and ``service`` are written by hand, everything else is generated from protos/.
"""
