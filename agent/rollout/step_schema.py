"""Fields of a canary step in the order of Argo's Go types. PURE.

Data for agent.rollout.go_json, which explains the notation.
"""

from typing import Final

STEPS: Final = "[CanaryStep]"

STRUCTS: Final = {
    "CanaryStep": """
        setWeight:*int pause:*RolloutPause experiment:*RolloutExperimentStep
        analysis:*RolloutAnalysis setCanaryScale:*SetCanaryScale setHeaderRoute:*SetHeaderRoute
        setMirrorRoute:*SetMirrorRoute plugin:*PluginStep
    """,
    "RolloutPause": "duration:*intstr",
    "RolloutExperimentStep": """
        templates:[RolloutExperimentTemplate]! duration:str
        analyses:[RolloutExperimentStepAnalysisTemplateRef] dryRun:[DryRun]
        analysisRunMetadata:AnalysisRunMetadata scaleDownDelaySeconds:*int
    """,
    "RolloutAnalysis": """
        templates:[AnalysisTemplateRef] args:[AnalysisRunArgument] dryRun:[DryRun]
        measurementRetention:[MeasurementRetention] analysisRunMetadata:*AnalysisRunMetadata
    """,
    "SetCanaryScale": "weight:*int replicas:*int matchTrafficWeight:bool",
    "SetHeaderRoute": "name:str match:[HeaderRoutingMatch]",
    "SetMirrorRoute": "name:str! match:[RouteMatch] percentage:*int",
    "PluginStep": "name:str! config:raw",
    "RolloutExperimentTemplate": """
        name:str! specRef:str! replicas:*int metadata:PodTemplateMetadata
        selector:*LabelSelector weight:*int service:*TemplateService
    """,
    "RolloutExperimentStepAnalysisTemplateRef": """
        name:str! templateName:str! clusterScope:*bool args:[AnalysisRunArgument]
        requiredForCompletion:bool
    """,
    "DryRun": "metricName:str!",
    "AnalysisRunMetadata": "labels:{str} annotations:{str}",
    "AnalysisTemplateRef": "templateName:str! clusterScope:*bool",
    "AnalysisRunArgument": "name:str! value:str valueFrom:*ArgumentValueFrom",
    "MeasurementRetention": "metricName:str! limit:int!",
    "HeaderRoutingMatch": "headerName:str! headerValue:*StringMatch!",
    "RouteMatch": "method:*StringMatch path:*StringMatch headers:{StringMatch}",
    "PodTemplateMetadata": "labels:{str} annotations:{str}",
    "LabelSelector": "matchLabels:{str} matchExpressions:[LabelSelectorRequirement]",
    "TemplateService": "name:str",
    "ArgumentValueFrom": "podTemplateHashValue:*str fieldRef:*FieldRef",
    "StringMatch": "exact:str prefix:str regex:str",
    "LabelSelectorRequirement": "key:str! operator:str! values:[str]",
    "FieldRef": "fieldPath:str!",
}
